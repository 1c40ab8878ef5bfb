// Reads the arguments of a request from untrusted bytes: every length is checked, and what is
// missing is an error value, never an assertion. Views stay valid as long as the bytes do.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace ouro::fs {

class ArgumentReader {
 public:
  explicit ArgumentReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  // Copies the next argument struct; false (and `out` unchanged) if there are too few bytes.
  template <typename T>
  [[nodiscard]] bool read(T& out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (rest_.size() < sizeof(T)) return false;
    std::memcpy(&out, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return true;
  }

  // The next NUL-terminated string, or nullptr if no NUL follows.
  [[nodiscard]] const char* name() {
    const void* end = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
    if (end == nullptr) return nullptr;
    const auto* text = reinterpret_cast<const char*>(rest_.data());
    rest_ = rest_.subspan(static_cast<std::size_t>(static_cast<const char*>(end) - text) + 1);
    return text;
  }

  // What was not read yet.
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace ouro::fs
