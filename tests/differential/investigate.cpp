#include "tests/differential/investigate.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "tests/differential/shrink.hpp"

namespace ouro::differential {
namespace {

bool is_about_time(const Difference& difference) {
  return difference.kind == FactKind::kTime || difference.kind == FactKind::kAccessTime;
}

// The one to look for again. Times come along with other differences, and depend on the clock.
const Difference& principal(const Failure& failure) {
  for (const Difference& difference : failure.differences) {
    if (!is_about_time(difference)) return difference;
  }
  return failure.differences.front();
}

bool same_kind(const Failure& left, const Failure& right) {
  return left.where == right.where && principal(left).field == principal(right).field;
}

}  // namespace

loop::Result<Report> investigate(Runner& runner, const Sequence& sequence, const Failure& failure,
                                 unsigned max_replays) {
  Report report{sequence, failure, sequence.calls.size(), 0, false};
  Calls calls = sequence.calls;
  calls.resize(std::min(calls.size(), failure.call_index + 1));
  // Which call made a time stamp is best told where calls are a tick apart.
  Pace pace = is_about_time(principal(failure)) ? Pace::kTick : sequence.pace;
  std::optional<loop::Errno> trouble;
  const auto fails = [&](const Calls& candidate) {
    if (trouble) return false;
    ++report.replays;
    Tally ignored;
    auto again = runner.run({sequence.seed, sequence.number, pace, candidate}, ignored);
    if (!again) trouble = again.error();
    if (!again || !*again || !same_kind(**again, failure)) return false;
    report.failure = **std::move(again);
    return true;
  };
  if (max_replays == 0) return report;
  report.reproduced = fails(calls);
  if (!report.reproduced && pace != sequence.pace) {
    pace = sequence.pace;
    report.reproduced = fails(calls);
  }
  if (trouble) return tl::unexpected<loop::Errno>(*trouble);
  if (!report.reproduced) return report;
  ShrinkResult result = shrink(std::move(calls), fails, max_replays);
  if (trouble) return tl::unexpected<loop::Errno>(*trouble);
  report.sequence.pace = pace;
  report.sequence.calls = std::move(result.calls);
  return report;
}

}  // namespace ouro::differential
