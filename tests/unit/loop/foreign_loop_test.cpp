// Tests of what a foreign loop is told (Drive::kForeign): how long to sleep, for what, and whether
// there is something to do. That everything works when one drives is what the other tests are run
// for once more.
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;

constexpr std::int64_t kMsNs = 1'000'000;

class ForeignLoopTest : public testing::LoopTest {
 protected:
  ForeignLoopTest() {
    AioOptions options = testing::tested_options();
    options.drive = Drive::kForeign;
    context_ = testing::create_context(options);
  }

  // One turn of a foreign loop in which `meanwhile` happens before it sleeps. It may sleep for as
  // long as it takes: whatever is not announced hangs.
  void turn(const std::function<void()>& meanwhile) {
    EXPECT_LT(context_->foreign_prepare(), 0);
    const auto watched = context_->foreign_fds();
    std::vector<pollfd> fds(watched.begin(), watched.end());
    meanwhile();
    EXPECT_GT(::ppoll(fds.data(), fds.size(), nullptr, nullptr), 0);
    (void)context_->foreign_check();
    (void)poll_now();
  }
  static void in_thread(const std::function<void()>& call) { std::thread(call).join(); }
  void watch(const Pipe& pipe, std::function<void()> callback) {
    context_->set_fd_handler(pipe.reader.get(), {std::move(callback), {}});
  }
  void expect_silence() {
    for (int i = 0; i < 3; ++i) {
      EXPECT_LT(context_->foreign_prepare(), 0);
      EXPECT_FALSE(context_->foreign_check());
      EXPECT_FALSE(poll_now());
    }
  }
};

// --- how long ------------------------------------------------------------------------------------

TEST_F(ForeignLoopTest, WithNothingToDoThereIsNoLimit) {
  expect_silence();
}

TEST_F(ForeignLoopTest, WhatIsDueForbidsToSleep) {
  int ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  CountingHandler completion([&](CountingHandler&) { ++ran; });
  Timer timer(*context_, [&] { ++ran; });
  const std::array<std::function<void()>, 3> causes = {
      [&] { bh.schedule(); }, [&] { context_->complete(completion, 0); }, [&] { timer.arm_at(0); }};
  int expected = 0;
  for (const auto& cause : causes) {
    cause();
    EXPECT_EQ(context_->foreign_prepare(), 0);
    EXPECT_TRUE(poll_now());
    EXPECT_EQ(ran, ++expected);
    expect_silence();
  }
  context_->notify();
  EXPECT_EQ(context_->foreign_prepare(), 0);
  expect_silence();
}

TEST_F(ForeignLoopTest, TheNextDeadlineIsTheLimit) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(50 * kMsNs);
  const std::int64_t limit_ns = context_->foreign_prepare();
  EXPECT_GE(limit_ns, 0);
  EXPECT_LE(limit_ns, 50 * kMsNs);
  const timespec limit{0, limit_ns};
  ::nanosleep(&limit, nullptr);
  EXPECT_TRUE(context_->foreign_check());
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(fired, 1);
}

TEST_F(ForeignLoopTest, AnIdleCallLimitsItToo) {
  BottomHalf bh(*context_, [] {});
  bh.schedule_idle();
  EXPECT_FALSE(poll_now());
  EXPECT_LE(context_->foreign_prepare(), BottomHalf::kIdlePeriodNs);
  (void)context_->foreign_check();
  poll_until([&] { return context_->foreign_prepare() < 0; });
}

// --- for what ------------------------------------------------------------------------------------

TEST_F(ForeignLoopTest, CallsFromOtherThreadsEndTheSleep) {
  int ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  turn([&] { in_thread([&] { bh.schedule(); }); });
  EXPECT_EQ(ran, 1);
  turn([&] { in_thread([&] { context_->post([&] { ++ran; }); }); });
  EXPECT_EQ(ran, 2);
  turn([&] { in_thread([&] { context_->notify(); }); });
  expect_silence();
}

TEST_F(ForeignLoopTest, CompletionsEndTheSleep) {
  const Pipe pipe(O_CLOEXEC);
  std::array<char, 1> into{};
  CountingHandler read;
  testing::add_read(*context_, pipe.reader.get(), into, read);
  turn([&] { in_thread([&] { pipe.put(); }); });
  EXPECT_EQ(read.calls(), 1U);
  // One that is added when the context is ready for the sleep.
  turn([&] {
    testing::add_read(*context_, pipe.reader.get(), into, read);
    pipe.put();
  });
  EXPECT_EQ(read.calls(), 2U);
  expect_silence();
}

TEST_F(ForeignLoopTest, EventsEndTheSleep) {
  const Pipe pipe;
  int events = 0;
  watch(pipe, [&] { events += pipe.take() ? 1 : 100; });
  for (int i = 1; i <= 3; ++i) {
    turn([&] { pipe.put(); });
    EXPECT_EQ(events, i);
  }
  expect_silence();
}

TEST_F(ForeignLoopTest, ATimerThatIsArmedDuringTheSleepEndsIt) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  turn([&] { in_thread([&] { context_->post([&] { timer.arm_at(0); }); }); });
  poll_until([&] { return fired == 1; });
}

// Other threads change what the foreign loop is watching just then.
TEST_F(ForeignLoopTest, HandlersMayChangeDuringTheSleep) {
  const Pipe pipe;
  const auto held = std::make_shared<int>(0);
  int events = 0;
  watch(pipe, [held] { FAIL() << "it was replaced"; });
  turn([&] {
    in_thread([&] { watch(pipe, [&] { events += pipe.take() ? 1 : 100; }); });
    pipe.put();
  });
  while (poll_now()) {
  }
  EXPECT_EQ(events, 1);
  EXPECT_EQ(held.use_count(), 1);

  std::optional<Pipe> gone(std::in_place);
  watch(*gone, [held] { FAIL() << "it was removed"; });
  turn([&] {
    in_thread([&] { context_->remove_fd_handler(gone->reader.get()); });
    gone.reset();
  });
  expect_silence();
  EXPECT_EQ(held.use_count(), 1);

  const Pipe fresh;
  turn([&] {
    fresh.put();
    in_thread([&] { watch(fresh, [&] { events += fresh.take() ? 1 : 100; }); });
  });
  while (poll_now()) {
  }
  EXPECT_EQ(events, 2);
}

// --- what there is to do -------------------------------------------------------------------------

// Whatever the fd of the ring says: it may have been looked at too early.
TEST_F(ForeignLoopTest, CheckFindsACompletionByItself) {
  const Pipe pipe(O_CLOEXEC);
  std::array<char, 1> into{};
  CountingHandler read;
  testing::add_read(*context_, pipe.reader.get(), into, read);
  EXPECT_LT(context_->foreign_prepare(), 0);
  pipe.put();
  EXPECT_TRUE(context_->foreign_check());
  EXPECT_EQ(read.calls(), 0U);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(read.calls(), 1U);
}

TEST_F(ForeignLoopTest, CheckFindsWhatOtherThreadsHaveAskedFor) {
  const Pipe pipe;
  pipe.put();
  int events = 0;
  EXPECT_LT(context_->foreign_prepare(), 0);
  in_thread([&] { watch(pipe, [&] { events += pipe.take() ? 1 : 100; }); });
  EXPECT_TRUE(context_->foreign_check());
  poll_until([&] { return events == 1; });
}

// A foreign loop may leave out the check, or prepare twice.
TEST_F(ForeignLoopTest, AfterTheCheckNobodyHasToBeWoken) {
  EXPECT_LT(context_->foreign_prepare(), 0);
  EXPECT_LT(context_->foreign_prepare(), 0);
  EXPECT_FALSE(context_->foreign_check());
  context_->notify();
  EXPECT_EQ(context_->notify_writes(), 0U);
  EXPECT_TRUE(context_->foreign_check());
  EXPECT_LT(context_->foreign_prepare(), 0);
  context_->notify();
  EXPECT_EQ(context_->notify_writes(), 1U);
  EXPECT_TRUE(context_->foreign_check());
}

}  // namespace
}  // namespace ouro::loop
