// When calls ran on one side, and so which call a time stamp comes from. The two sides never have
// the same clock readings: two stamps agree when the same call may have made them. A stamp from
// outside of the sequence was set explicitly (utimensat) and must agree to the nanosecond.
// Entry 0 is the making of the directory, entry N the N-th call. No I/O; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/differential/outcome.hpp"

namespace ouro::differential {

// The calls which may have made a stamp. first > last: it lies between two calls.
struct Origin {
  std::int64_t time_ns = 0;
  bool is_explicit = false;
  std::int64_t first = 0;
  std::int64_t last = 0;
};

class Timeline {
 public:
  void add(const Interval& interval) { intervals_.push_back(interval); }
  [[nodiscard]] Origin locate(std::int64_t time_ns) const;

 private:
  std::vector<Interval> intervals_;
};

enum class TimeOrder { kSame, kMountOlder, kMountNewer };

[[nodiscard]] TimeOrder compare_origins(const Origin& native, const Origin& mount);
// "explicit 946684800.999999999", "call 12", "calls 3-12", "after call 3".
[[nodiscard]] std::string describe_origin(const Origin& origin);

}  // namespace ouro::differential
