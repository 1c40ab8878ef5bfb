// What a call did on one side: its return value, its errno, when it ran, and what could be
// observed, as a list of named facts. Made by the executors in a worker, compared by the program.
#pragma once

#include <time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ouro::differential {

// How a fact is compared and shown. Times are compared by the call that set them: see timeline.hpp.
// Access times are a kind of their own: relatime updates them depending on whether they are older
// than mtime and ctime, which within one tick of the clock is a matter of luck. Sectors are
// compared roughly: where a file lies on the disk decides how many blocks its own map needs.
enum class FactKind : std::uint8_t { kNumber, kOctal, kSectors, kTime, kAccessTime, kText };

struct Fact {
  std::string name;
  FactKind kind = FactKind::kNumber;
  std::int64_t number = 0;  // of a time: nanoseconds since 1970
  std::string text;
};

// Every time stamp which the kernel may have taken during the call lies within.
struct Interval {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
};

class Outcome {
 public:
  // Takes what a libc wrapper returned, and errno when that is -1. True when it succeeded.
  bool finish(std::int64_t result);
  // The same for calls that return a new descriptor, whose number means nothing.
  bool finish_quietly(std::int64_t result);

  void number(std::string name, std::int64_t value);
  void octal(std::string name, std::int64_t value);
  void sectors(std::string name, std::int64_t value);
  void text(std::string name, std::string value);
  void time(std::string name, std::int64_t nanoseconds);
  void access_time(std::string name, std::int64_t nanoseconds);

  [[nodiscard]] std::int64_t result() const { return result_; }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] const std::vector<Fact>& facts() const { return facts_; }
  [[nodiscard]] const Fact* find(std::string_view name) const;

  Interval when;

  [[nodiscard]] std::string encode() const;
  static std::optional<Outcome> decode(std::string_view bytes);

 private:
  std::int64_t result_ = 0;
  int error_ = 0;
  std::vector<Fact> facts_;
};

[[nodiscard]] std::int64_t to_nanoseconds(const timespec& time);
[[nodiscard]] std::int64_t clock_ns(clockid_t clock);
// "ok" for 0, else the symbol: "ENOENT".
[[nodiscard]] std::string errno_name(int error);

}  // namespace ouro::differential
