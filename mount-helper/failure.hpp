// Why a program gives up: what happened, what the user can do about it, and the exit code of
// mount(8). Every step of starting up returns one of these; only main prints it.
// Plain values, no threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace ouro::mount_helper {

// The codes of mount(8).
enum class ExitCode : std::uint8_t { kOk = 0, kUsage = 1, kSystem = 2, kMountFailed = 32 };

struct Failure {
  ExitCode exit_code = ExitCode::kSystem;
  std::string message;  // names the object and the reason; no program name, no full stop
  std::string hint;     // what to do about it; may be empty

  friend bool operator==(const Failure&, const Failure&) = default;
};

// A value, or the reason why there is none.
template <typename T>
using Outcome = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> give_up(ExitCode code, std::string message,
                                                     std::string hint = {}) {
  return tl::unexpected<Failure>(Failure{code, std::move(message), std::move(hint)});
}

// `text` with every control character replaced, so that a name of a file cannot forge a line.
[[nodiscard]] inline std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return result;
}

// A name as messages show it: 'name'.
[[nodiscard]] inline std::string quoted(std::string_view name) {
  return "'" + printable(name) + "'";
}

// The text of an errno value, in English whatever the locale; safe from any thread.
[[nodiscard]] inline std::string errno_text(int errno_value) {
  const char* text = ::strerrordesc_np(errno_value);
  return text != nullptr ? text : "error " + std::to_string(errno_value);
}

// The one line that the user sees, without a newline.
[[nodiscard]] inline std::string render(const Failure& failure) {
  std::string line = "ourofs: " + failure.message;
  if (!failure.hint.empty()) line += " (" + failure.hint + ")";
  return line;
}

}  // namespace ouro::mount_helper
