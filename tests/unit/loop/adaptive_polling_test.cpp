// Tests of adaptive polling: how long the loop looks for work in memory, and what it may not do to
// others meanwhile.
#include "loop/adaptive_polling.hpp"

#include <chrono>
#include <cstdint>
#include <thread>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::Pipe;

constexpr std::int64_t kMsNs = 1'000'000;

// --- the rule ------------------------------------------------------------------------------------

TEST(AdaptivePollingRuleTest, GrowsForEventsThatItJustMissed) {
  AdaptivePolling polling({.max_ns = 30'000, .grow = 2, .shrink = 0});
  EXPECT_EQ(polling.current_ns(), 0);
  polling.tune(20'000);
  EXPECT_EQ(polling.current_ns(), AdaptivePolling::kFirstNs);
  polling.tune(20'000);
  EXPECT_EQ(polling.current_ns(), 8'000);
  polling.tune(7'000);  // found in time
  EXPECT_EQ(polling.current_ns(), 8'000);
  for (int i = 0; i < 5; ++i) polling.tune(30'000);
  EXPECT_EQ(polling.current_ns(), 30'000);
}

TEST(AdaptivePollingRuleTest, ShrinksForEventsThatWereTooFarOff) {
  AdaptivePolling at_once({.max_ns = 10'000, .grow = 2, .shrink = 0});
  at_once.tune(5'000);
  at_once.tune(11'000);
  EXPECT_EQ(at_once.current_ns(), 0);
  AdaptivePolling slowly({.max_ns = 10'000, .grow = 2, .shrink = 4});
  slowly.tune(5'000);
  slowly.tune(11'000);
  EXPECT_EQ(slowly.current_ns(), AdaptivePolling::kFirstNs / 4);
}

TEST(AdaptivePollingRuleTest, IsOffByDefault) {
  EXPECT_FALSE(AdaptivePolling({}).enabled());
  EXPECT_EQ(AioOptions{}.polling.max_ns, 0);
}

// --- in the loop ---------------------------------------------------------------------------------

class AdaptivePollingTest : public testing::LoopTest {
 protected:
  AdaptivePollingTest() {
    AioOptions options = testing::tested_options();
    options.polling.max_ns = 200 * kMsNs;
    context_ = testing::create_context(options);
  }

  // An fd that never becomes ready, whose work is seen in memory.
  void watch(const Pipe& pipe) {
    context_->set_fd_handler(pipe.reader.get(), {.on_readable = [] {},
                                                 .on_writable = {},
                                                 .poll =
                                                     [this] {
                                                       ++asked_;
                                                       return work_;
                                                     },
                                                 .on_poll_ready = [this] { ++ready_; },
                                                 .poll_begin = [this] { balance(+1); },
                                                 .poll_end = [this] { balance(-1); }});
  }
  void balance(int by) {
    balance_ += by;
    EXPECT_TRUE(balance_ == 0 || balance_ == 1);
    ++changes_;
  }
  // Events a little further off than the loop looks, so that it looks longer and longer.
  void grow(std::int64_t to_ns = kMsNs) {
    Timer timer(*context_, [] {});
    for (int i = 0; i < 200 && context_->polling_ns() < to_ns; ++i) {
      timer.arm_in(context_->polling_ns() + kMsNs / 10);
      while (timer.armed()) context_->poll(Blocking::kYes);
    }
    ASSERT_GE(context_->polling_ns(), to_ns);
  }
  // Spinning helps only where nothing else has to be waited for in the kernel.
  [[nodiscard]] static bool on_ring() { return testing::tested_backend() == Backend::kUring; }

  const Pipe pipe_;
  bool work_ = false;
  int asked_ = 0;
  int ready_ = 0;
  int balance_ = 0;
  int changes_ = 0;
};

TEST_F(AdaptivePollingTest, WorkInMemoryIsFoundBeforeTheLoopSleeps) {
  watch(pipe_);
  work_ = true;
  EXPECT_TRUE(context_->poll(Blocking::kYes));
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(asked_, 1);
}

TEST_F(AdaptivePollingTest, TheLoopSpinsOnceThatHasProvedWorthIt) {
  watch(pipe_);
  EXPECT_EQ(context_->polling_ns(), 0);
  grow();
  work_ = true;
  const std::uint64_t polled = context_->counters().polled;
  EXPECT_TRUE(context_->poll(Blocking::kYes));
  EXPECT_EQ(context_->counters().polled, polled + 1);
  EXPECT_EQ(ready_, 1);
}

TEST_F(AdaptivePollingTest, ItGivesUpWhenNothingComes) {
  watch(pipe_);
  grow();
  Timer timer(*context_, [] {});
  timer.arm_in(250 * kMsNs);
  while (timer.armed()) context_->poll(Blocking::kYes);
  EXPECT_EQ(context_->polling_ns(), 0);
}

TEST_F(AdaptivePollingTest, SpinningDoesNotMakeTimersLate) {
  watch(pipe_);
  grow(60 * kMsNs);
  std::int64_t fired_ns = 0;
  Timer timer(*context_, [&] { fired_ns = monotonic_now_ns(); });
  const std::int64_t delay_ns = context_->polling_ns() + 2 * kMsNs;
  const std::int64_t due_ns = monotonic_now_ns() + delay_ns;
  timer.arm_at(due_ns);
  while (timer.armed()) context_->poll(Blocking::kYes);
  EXPECT_LT(fired_ns - due_ns, 50 * kMsNs);  // less than it spun
}

TEST_F(AdaptivePollingTest, BeginAndEndAreBalanced) {
  watch(pipe_);
  grow();
  EXPECT_GT(changes_, 0);
  for (int i = 0; i < 100; ++i) {
    testing::CountingHandler nop;
    testing::add_nop(*context_, nop);
    work_ = i % 3 == 0;
    while (nop.calls() == 0) context_->poll(Blocking::kYes);
  }
  work_ = false;
  context_->remove_fd_handler(pipe_.reader.get());
  EXPECT_EQ(balance_, 0);
  watch(pipe_);
  context_.reset();
  EXPECT_EQ(balance_, 0);
}

// Where the end and the next beginning are costly, as for a device whose interrupts are off
// meanwhile.
TEST_F(AdaptivePollingTest, TheLoopSpinsOnWhileThereIsWork) {
  watch(pipe_);
  grow();
  work_ = true;
  EXPECT_TRUE(context_->poll(Blocking::kYes));
  ASSERT_EQ(balance_, 1);
  const int changes = changes_;
  for (int i = 0; i < 100; ++i) {
    testing::CountingHandler nop;
    testing::add_nop(*context_, nop);
    while (nop.calls() == 0) context_->poll(Blocking::kYes);
  }
  EXPECT_EQ(changes_, changes);
}

TEST_F(AdaptivePollingTest, APlainFdIsNotStarved) {
  const Pipe plain;
  int events = 0;
  context_->set_fd_handler(plain.reader.get(), {[&] { events += plain.take() ? 1 : 0; }, {}});
  watch(pipe_);
  grow();
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      plain.put();
    }
  });
  while (events < 20) context_->poll(Blocking::kYes);
  other.join();
  // Nor by one that always has work.
  work_ = true;
  plain.put();
  for (int i = 0; i < 10 && events < 21; ++i) context_->poll(Blocking::kYes);
  EXPECT_EQ(events, on_ring() ? 21 : events);
}

TEST_F(AdaptivePollingTest, AHandlerThatNestsIsNotAskedInside) {
  const Pipe other;
  int others = 0;
  int asked_inside = 0;
  int level = 0;
  context_->set_fd_handler(other.reader.get(), {[&] { others += other.take() ? 1 : 0; }, {}});
  context_->set_fd_handler(pipe_.reader.get(), {.on_readable = [] {},
                                                .on_writable = {},
                                                .poll =
                                                    [&] {
                                                      asked_inside += level;
                                                      return true;
                                                    },
                                                .on_poll_ready =
                                                    [&] {
                                                      ASSERT_EQ(level++, 0) << "it recurses";
                                                      other.put();
                                                      const int before = others;
                                                      while (others == before)
                                                        context_->poll(Blocking::kYes);
                                                      --level;
                                                    }});
  for (int i = 1; i <= 3; ++i) {
    while (others < i) context_->poll(Blocking::kYes);
  }
  EXPECT_EQ(asked_inside, 0);
}

// One that the nested loop asks in vain: its data comes after that.
TEST_F(AdaptivePollingTest, AnFdWithoutWorkInMemoryWakesANestedLoop) {
  watch(pipe_);
  grow();
  const Pipe other;
  int rounds = 0;
  int asked_inside = 0;
  int others = 0;
  const auto ask_other = [&] {
    if (context_->depth() > 1 && ++asked_inside == rounds) other.put();
    return false;
  };
  const auto nest = [&] {
    asked_inside = rounds++;
    while (others < rounds) context_->poll(Blocking::kYes);
  };
  context_->set_fd_handler(other.reader.get(),
                           {.on_readable = [&] { others += other.take() ? 1 : 100; },
                            .on_writable = {},
                            .poll = ask_other,
                            .on_poll_ready = [] { FAIL(); }});
  context_->set_fd_handler(pipe_.reader.get(), {.on_readable = [] {},
                                                .on_writable = {},
                                                .poll =
                                                    [&] {
                                                      EXPECT_EQ(context_->depth(), 1U);
                                                      return true;
                                                    },
                                                .on_poll_ready = nest});
  while (rounds < 3) context_->poll(Blocking::kYes);
  EXPECT_EQ(others, 3);
}

// The context watches the wall clock for it, with an fd that has no work in memory.
TEST_F(AdaptivePollingTest, AWallTimerDoesNotForbidToSpin) {
  Timer wall(
      *context_, [] { FAIL(); }, Clock::kWall);
  wall.arm_in(3'600'000 * kMsNs);
  watch(pipe_);
  grow();
  work_ = true;
  const std::uint64_t polled = context_->counters().polled;
  EXPECT_TRUE(context_->poll(Blocking::kYes));
  EXPECT_EQ(context_->counters().polled, polled + 1);
}

TEST_F(AdaptivePollingTest, AThreadThatNotifiesEndsTheSpinning) {
  watch(pipe_);
  grow();
  bool ran = false;
  std::thread other([&] { context_->post([&] { ran = true; }); });
  while (!ran) context_->poll(Blocking::kYes);
  other.join();
}

}  // namespace
}  // namespace ouro::loop
