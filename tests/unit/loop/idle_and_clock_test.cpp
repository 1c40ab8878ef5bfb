// Tests of what is due by time: idle bottom halves, timers on either clock, and very many of them.
#include <sys/timex.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"

namespace ouro::loop {
namespace {

constexpr std::int64_t kMsNs = 1'000'000;
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

// --- idle bottom halves --------------------------------------------------------------------------

class IdleBottomHalfTest : public testing::LoopTest {
 protected:
  int ran_ = 0;
};

TEST_F(IdleBottomHalfTest, RunsWithinThePeriodAndIsNoProgress) {
  BottomHalf bh(*context_, [&] { ++ran_; });
  bh.schedule_idle();
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran_, 0);
  const std::int64_t began_ns = monotonic_now_ns();
  while (ran_ == 0) EXPECT_FALSE(poll());
  EXPECT_LT(monotonic_now_ns() - began_ns, 1000 * kMsNs);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran_, 1);
}

TEST_F(IdleBottomHalfTest, MayBeCancelledDestroyedAndGivenAway) {
  BottomHalf cancelled(*context_, [&] { ++ran_; });
  std::optional<BottomHalf> destroyed;
  destroyed.emplace(*context_, [&] { ++ran_; });
  const auto held = std::make_shared<int>(0);
  auto given = std::make_unique<BottomHalf>(*context_, [this, held] { ++ran_; });
  cancelled.schedule_idle();
  destroyed->schedule_idle();
  given->schedule_idle();
  EXPECT_FALSE(poll_now());  // they are on the idle list
  cancelled.cancel();
  destroyed.reset();
  BottomHalf::destroy_later(std::move(given));
  Timer timer(*context_, [] {});
  timer.arm_in(3 * BottomHalf::kIdlePeriodNs);
  while (timer.armed() || held.use_count() > 1) (void)poll();
  EXPECT_EQ(ran_, 0);
}

TEST_F(IdleBottomHalfTest, MayScheduleItselfAgainEitherWay) {
  std::optional<BottomHalf> bh;
  bh.emplace(*context_, [&] {
    ++ran_;
    if (ran_ == 1) bh->schedule_idle();
    if (ran_ == 2) bh->schedule();
  });
  bh->schedule_idle();
  while (ran_ < 3) (void)poll();
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran_, 3);
}

// --- clocks --------------------------------------------------------------------------------------

class ClockTest : public testing::LoopTest {};

TEST_F(ClockTest, AWallTimerFiresAtItsTimeOfDay) {
  int fired = 0;
  Timer timer(
      *context_, [&] { ++fired; }, Clock::kWall);
  const std::int64_t due_ns = now_ns(Clock::kWall) + 5 * kMsNs;
  timer.arm_at(due_ns);
  EXPECT_FALSE(poll_now());
  poll_until([&] { return fired == 1; });
  EXPECT_GE(now_ns(Clock::kWall), due_ns);
  EXPECT_LT(now_ns(Clock::kWall), due_ns + 1000 * kMsNs);
  EXPECT_FALSE(poll_now());  // the watch of the clock is silent
}

// Sets the wall clock forward or, with a negative number, back. False without the right to do so.
[[nodiscard]] bool shift_wall_clock(std::int64_t ns) {
  constexpr std::int64_t kSecondNs = 1000 * kMsNs;
  timex change{};
  change.modes = ADJ_SETOFFSET | ADJ_NANO;
  change.time.tv_sec = ns < 0 ? -1 : 0;
  change.time.tv_usec = ns < 0 ? kSecondNs + ns : ns;
  return ::clock_adjtime(CLOCK_REALTIME, &change) >= 0;
}

// By one nanosecond only: to the kernel a change like any other, to the rest of the machine none.
TEST_F(ClockTest, SettingTheWallClockEndsTheSleepEveryTime) {
  if (!shift_wall_clock(0)) GTEST_SKIP() << "only root may set the clock";
  Timer timer(
      *context_, [] { FAIL() << "it is due in an hour"; }, Clock::kWall);
  timer.arm_in(3'600'000 * kMsNs);
  for (const std::int64_t by_ns : {1, -1, 1, -1}) {
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // asleep by now
      EXPECT_TRUE(shift_wall_clock(by_ns));
    });
    EXPECT_FALSE(poll()) << "it is no user's business";  // ends at once, or in an hour
    other.join();
    EXPECT_FALSE(poll_now());
  }
  // Asleep again, for the new time.
  int fired = 0;
  Timer soon(*context_, [&] { ++fired; });
  soon.arm_in(20 * kMsNs);
  const std::uint64_t before = context_->ring().enter_calls();
  poll_until([&] { return fired == 1; });
  EXPECT_LT(context_->ring().enter_calls() - before, 20U);
}

TEST_F(ClockTest, TimersOfBothClocksAreServed) {
  int fired = 0;
  Timer first(
      *context_, [&] { ++fired; }, Clock::kWall);
  Timer second(
      *context_, [&] { ++fired; }, Clock::kMonotonic);
  Timer third(
      *context_, [&] { ++fired; }, Clock::kWall);
  third.arm_in(15 * kMsNs);
  second.arm_in(10 * kMsNs);
  first.arm_in(5 * kMsNs);
  poll_until([&] { return fired == 3; });
  EXPECT_FALSE(first.armed() || second.armed() || third.armed());
}

TEST_F(ClockTest, DeadlinesBeyondAllTimeAreNoTrouble) {
  for (const Clock clock : {Clock::kMonotonic, Clock::kWall}) {
    Timer never(
        *context_, [] { FAIL(); }, clock);
    never.arm_in(kForever);
    int fired = 0;
    Timer long_ago(
        *context_, [&] { ++fired; }, clock);
    long_ago.arm_at(std::numeric_limits<std::int64_t>::min());
    EXPECT_TRUE(poll());
    EXPECT_EQ(fired, 1);
    // The loop sleeps in spite of it.
    Timer soon(*context_, [&] { ++fired; });
    soon.arm_in(20 * kMsNs);
    const std::uint64_t before = context_->ring().enter_calls();
    poll_until([&] { return fired == 2; });
    EXPECT_LT(context_->ring().enter_calls() - before, 20U);
    EXPECT_TRUE(never.armed());
  }
}

TEST_F(ClockTest, AHundredThousandFireInOrder) {
  constexpr std::size_t kTimers = 100'000;
  std::minstd_rand random(1);
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<std::int64_t> deadlines(kTimers);
  std::vector<std::int64_t> fired;
  timers.reserve(kTimers);
  fired.reserve(kTimers);
  const std::int64_t now = monotonic_now_ns();
  for (std::size_t i = 0; i < kTimers; ++i) {
    deadlines[i] = now + static_cast<std::int64_t>(random() % 1000) * 1000;
    timers.push_back(std::make_unique<Timer>(*context_, [&, i] { fired.push_back(deadlines[i]); }));
    timers.back()->arm_at(deadlines[i] + 1);
    timers.back()->arm_at(deadlines[i]);
  }
  std::size_t armed = kTimers;
  for (std::size_t i = 0; i < kTimers; i += 3, --armed) timers[i]->cancel();
  poll_until([&] { return fired.size() == armed; });
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
  EXPECT_FALSE(poll_now());
}

}  // namespace
}  // namespace ouro::loop
