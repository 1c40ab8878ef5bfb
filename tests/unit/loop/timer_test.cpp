// Tests of Timer and TimerHeap: order, precision, and what a callback may do.
#include "loop/timer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/loop_test.hpp"

namespace ouro::loop {
namespace {

constexpr std::int64_t kMsNs = 1'000'000;
constexpr std::int64_t kHourNs = 3'600'000 * kMsNs;

class TimerTest : public testing::LoopTest {};

TEST_F(TimerTest, FiresOnceAtItsDeadlineAndNotBefore) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  const std::int64_t start_ns = monotonic_now_ns();
  timer.arm_in(20 * kMsNs);
  EXPECT_TRUE(timer.armed());
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(fired, 0);

  EXPECT_TRUE(poll());  // one blocking call, no surplus wake-ups
  EXPECT_GE(monotonic_now_ns() - start_ns, 20 * kMsNs);
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.armed());
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(fired, 1);

  timer.arm_in(kMsNs);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 2);
}

// Back ends with a timeout in milliseconds would need at least one.
TEST_F(TimerTest, IsPreciseToLessThanAMillisecond) {
  constexpr std::int64_t kDelayNs = 150'000;
  std::int64_t best_ns = std::numeric_limits<std::int64_t>::max();
  Timer timer(*context_, [] {});
  for (int i = 0; i < 50; ++i) {
    const std::int64_t start_ns = monotonic_now_ns();
    timer.arm_in(kDelayNs);
    EXPECT_TRUE(poll());
    const std::int64_t elapsed_ns = monotonic_now_ns() - start_ns;
    EXPECT_GE(elapsed_ns, kDelayNs);
    best_ns = std::min(best_ns, elapsed_ns);
  }
  EXPECT_LT(best_ns, kMsNs + testing::outside_unit_ns - 1);
}

TEST_F(TimerTest, ACancelledTimerDoesNotFire) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(0);
  timer.cancel();
  timer.cancel();
  EXPECT_FALSE(timer.armed());
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(fired, 0);
}

TEST_F(TimerTest, ADestroyedTimerDoesNotFire) {
  int fired = 0;
  {
    Timer(*context_, [&] { ++fired; }).arm_in(0);
  }
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(fired, 0);
}

TEST_F(TimerTest, ArmingAgainReplacesTheDeadline) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(kHourNs);
  timer.arm_in(0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
  timer.arm_in(0);
  timer.arm_in(kHourNs);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, ADeadlineInThePastIsDueAtOnce) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_at(0);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, ArmingAndCancellingThousandsLeavesNothingBehind) {
  Timer timer(*context_, [] { FAIL() << "a cancelled timer has fired"; });
  const std::uint64_t enters = context_->ring().enter_calls();
  for (int i = 0; i < 10'000; ++i) {
    timer.arm_in(kMsNs);
    timer.cancel();
  }
  EXPECT_EQ(context_->timers(Clock::kMonotonic).timeout_ns(), -1);
  EXPECT_EQ(context_->ring().enter_calls(), enters);

  // Nothing of them cuts this wait short.
  int fired = 0;
  Timer last(*context_, [&] { ++fired; });
  last.arm_in(5 * kMsNs);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, FireInTheOrderOfTheirDeadlinesWhateverWasCancelled) {
  std::mt19937 random(1);
  std::vector<std::int64_t> fired_ns;
  std::vector<std::int64_t> expected_ns;
  std::deque<Timer> timers;
  std::vector<std::int64_t> deadlines_ns;
  const std::int64_t base_ns = monotonic_now_ns();
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t deadline_ns = base_ns + static_cast<std::int64_t>(random() % 500);
    deadlines_ns.push_back(deadline_ns);
    timers.emplace_back(*context_, [&, deadline_ns] { fired_ns.push_back(deadline_ns); })
        .arm_at(deadline_ns);
  }
  for (std::size_t i = 0; i < timers.size(); ++i) {
    if (random() % 3 == 0) {
      timers[i].cancel();
    } else {
      expected_ns.push_back(deadlines_ns[i]);
    }
  }
  std::sort(expected_ns.begin(), expected_ns.end());
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired_ns, expected_ns);
}

// --- what a callback may do ----------------------------------------------------------------------

TEST_F(TimerTest, ReArmingForThePastWaitsForTheNextIteration) {
  int fired = 0;
  int others = 0;
  std::optional<Timer> timer;
  timer.emplace(*context_, [&] {
    ++fired;
    timer->arm_at(0);
  });
  Timer other(*context_, [&] { ++others; });
  timer->arm_at(0);
  other.arm_in(0);
  for (int i = 1; i <= 10; ++i) {
    EXPECT_TRUE(poll());
    EXPECT_EQ(fired, i);
    EXPECT_EQ(others, 1);  // not starved by the one whose deadline is always earlier
  }
}

TEST_F(TimerTest, ACallbackMayDestroyItsTimer) {
  int fired = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(*context_, [&fired, &timer] {
    ++fired;
    timer.reset();
  });
  timer->arm_in(0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(timer, nullptr);
  EXPECT_FALSE(poll_now());
}

TEST_F(TimerTest, ACallbackMayCancelAndDestroyOthersThatAreDue) {
  int fired = 0;
  std::array<std::unique_ptr<Timer>, 3> timers;
  for (auto& timer : timers) {
    timer = std::make_unique<Timer>(*context_, [&] {
      ++fired;
      timers[1]->cancel();
      timers[2].reset();
    });
  }
  const std::int64_t now_ns = monotonic_now_ns();
  timers[0]->arm_at(now_ns - 2);
  timers[1]->arm_at(now_ns - 1);
  timers[2]->arm_at(now_ns - 1);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(poll_now());
}

TEST_F(TimerTest, ANestedLoopRunsTheTimersThatItsParentHasNotReached) {
  int second_fired = 0;
  Timer second(*context_, [&] { ++second_fired; });
  Timer first(*context_, [&] { poll_until([&] { return second_fired == 1; }); });
  const std::int64_t now_ns = monotonic_now_ns();
  first.arm_at(now_ns - 2);
  second.arm_at(now_ns - 1);
  EXPECT_TRUE(poll());
  EXPECT_EQ(second_fired, 1);
}

TEST_F(TimerTest, ANestedLoopMayDestroyTheTimerItIsNestedIn) {
  std::unique_ptr<Timer> outer;
  Timer inner(*context_, [&] { outer.reset(); });
  outer = std::make_unique<Timer>(*context_, [&] {
    outer->arm_in(0);  // which is void
    inner.arm_at(0);
    EXPECT_TRUE(poll_now());
  });
  outer->arm_at(0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(outer, nullptr);
  EXPECT_FALSE(poll_now());
}

TEST_F(TimerTest, ANestedLoopDoesNotRunTheTimerItIsNestedIn) {
  int depth = 0;
  Timer timer(*context_, [&] {
    EXPECT_EQ(++depth, 1);
    EXPECT_FALSE(poll_now());
    --depth;
  });
  timer.arm_in(0);
  EXPECT_TRUE(poll());
}

}  // namespace
}  // namespace ouro::loop
