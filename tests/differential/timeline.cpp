#include "tests/differential/timeline.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace ouro::differential {

Origin Timeline::locate(std::int64_t time_ns) const {
  Origin origin;
  origin.time_ns = time_ns;
  if (intervals_.empty() || time_ns < intervals_.front().begin_ns ||
      time_ns > intervals_.back().end_ns) {
    origin.is_explicit = true;
    return origin;
  }
  const auto first = std::partition_point(
      intervals_.begin(), intervals_.end(),
      [time_ns](const Interval& interval) { return interval.end_ns < time_ns; });
  const auto behind = std::partition_point(
      intervals_.begin(), intervals_.end(),
      [time_ns](const Interval& interval) { return interval.begin_ns <= time_ns; });
  origin.first = first - intervals_.begin();
  origin.last = behind - intervals_.begin() - 1;
  return origin;
}

TimeOrder compare_origins(const Origin& native, const Origin& mount) {
  if (native.is_explicit || mount.is_explicit) {
    if (native.is_explicit == mount.is_explicit && native.time_ns == mount.time_ns) {
      return TimeOrder::kSame;
    }
    return mount.time_ns < native.time_ns ? TimeOrder::kMountOlder : TimeOrder::kMountNewer;
  }
  if (native.first == mount.first && native.last == mount.last) return TimeOrder::kSame;
  if (mount.last < native.first) return TimeOrder::kMountOlder;
  if (native.last < mount.first) return TimeOrder::kMountNewer;
  return TimeOrder::kSame;
}

std::string describe_origin(const Origin& origin) {
  constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
  if (origin.is_explicit) {
    const std::int64_t fraction =
        (origin.time_ns % kNanosecondsPerSecond + kNanosecondsPerSecond) % kNanosecondsPerSecond;
    const std::int64_t seconds = (origin.time_ns - fraction) / kNanosecondsPerSecond;
    return fmt::format("explicit {}.{:09}", seconds, fraction);
  }
  if (origin.first == origin.last) return fmt::format("call {}", origin.first);
  if (origin.first > origin.last) return fmt::format("after call {}", origin.last);
  return fmt::format("calls {}-{}", origin.first, origin.last);
}

}  // namespace ouro::differential
