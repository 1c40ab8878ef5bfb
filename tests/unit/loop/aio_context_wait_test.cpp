// Tests of how an AioContext sleeps and wakes: notify(), signals, idleness.
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/timer.hpp"
#include "loop/uring_abi.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/signal_timer.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;

constexpr std::int64_t kMsNs = 1'000'000;

class AioContextWaitTest : public testing::LoopTest {};

// --- notify --------------------------------------------------------------------------------------

TEST_F(AioContextWaitTest, NotifyBeforeABlockingPollEndsItAtOnce) {
  context_->notify();
  context_->notify();
  EXPECT_FALSE(poll());
  EXPECT_EQ(context_->notify_writes(), 0U);  // nobody slept, so nobody had to be woken
}

TEST_F(AioContextWaitTest, ANotificationIsConsumedByTheBlockingPollThatItEnds) {
  context_->notify();
  EXPECT_FALSE(poll());
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(5 * kMsNs);
  EXPECT_TRUE(poll());  // not a second time by the notification
  EXPECT_EQ(fired, 1);
}

TEST_F(AioContextWaitTest, NotifyIsNoProgress) {
  context_->notify();
  EXPECT_FALSE(poll_now());
  EXPECT_FALSE(poll());
  EXPECT_FALSE(poll_now());
}

TEST_F(AioContextWaitTest, NotifyFromAnotherThreadEndsABlockingPoll) {
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    context_->notify();
  });
  EXPECT_FALSE(poll());
  other.join();
  EXPECT_LE(context_->notify_writes(), 1U);
}

TEST_F(AioContextWaitTest, NoNotificationIsLostInAStorm) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 3000;
  std::atomic<int> sent = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        ++sent;
        context_->notify();
        if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  poll_until([&] { return sent == kThreads * kRounds; });
  for (std::thread& thread : threads) thread.join();
}

// An SQE that was queued before must not lie there while the loop returns to its caller.
TEST_F(AioContextWaitTest, ANotifiedPollStillSubmits) {
  const Pipe pipe;
  CountingHandler write;
  context_->add_sqe(
      [&](io_uring_sqe& sqe) { ::io_uring_prep_write(&sqe, pipe.writer.get(), "y", 1, 0); }, write);
  context_->notify();
  EXPECT_TRUE(poll());
  EXPECT_TRUE(pipe.take());
}

// --- signals -------------------------------------------------------------------------------------

AioContext* notified_by_signal = nullptr;
std::atomic<int> signals = 0;

class SignalTest : public AioContextWaitTest {
 protected:
  // A SIGALRM every millisecond, until the end of the test.
  void start_storm(void (*handler)(int)) {
    signals = 0;
    storm_.emplace(SIGALRM, handler).start_every(kMsNs);
  }

 private:
  std::optional<testing::SignalTimer> storm_;
};

void count_signal(int /*signal*/) {
  ++signals;
}

TEST_F(SignalTest, DoNotEndABlockingPollEarly) {
  start_storm(count_signal);
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(60 * kMsNs);
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
  EXPECT_GT(signals, 3);
}

// With SQEs to submit the system call returns their number, not EINTR.
TEST_F(SignalTest, DoNotEndABlockingPollEarlyWhenItSubmits) {
  start_storm(count_signal);
  const Pipe pipe(O_CLOEXEC);
  std::array<char, 1> into{};
  std::vector<CountingHandler> reads(20);
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  for (CountingHandler& read : reads) {
    testing::add_read(*context_, pipe.reader.get(), into, read);
    timer.arm_in(5 * kMsNs);
    EXPECT_TRUE(poll());
  }
  EXPECT_EQ(fired, 20);
  EXPECT_GT(signals, 3);
  for (const CountingHandler& read : reads) EXPECT_EQ(read.calls(), 0U);
  context_.reset();
  for (const CountingHandler& read : reads) EXPECT_EQ(read.result(), -ECANCELED);
}

void notify_from_signal(int /*signal*/) {
  ++signals;
  notified_by_signal->notify();
}

TEST_F(SignalTest, ASignalHandlerMayNotify) {
  notified_by_signal = context_.get();
  start_storm(notify_from_signal);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(poll());
  EXPECT_GT(signals, 0);
}

// --- idleness ------------------------------------------------------------------------------------

[[nodiscard]] std::int64_t thread_cpu_ns() {
  rusage usage{};
  EXPECT_EQ(::getrusage(RUSAGE_THREAD, &usage), 0);
  const auto as_ns = [](const timeval& t) { return t.tv_sec * 1'000'000'000 + t.tv_usec * 1000; };
  return as_ns(usage.ru_utime) + as_ns(usage.ru_stime);
}

TEST_F(AioContextWaitTest, AnIdleLoopTakesNoCpu) {
  const Pipe pipe;
  context_->set_fd_handler(pipe.reader.get(), {[] { FAIL(); }, {}});
  std::array<char, 1> into{};
  CountingHandler read;
  testing::add_read(*context_, pipe.reader.get(), into, read);
  EXPECT_FALSE(poll_now());

  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  timer.arm_in(300 * kMsNs);
  const std::int64_t cpu_ns = thread_cpu_ns();
  const std::uint64_t enters = context_->ring().enter_calls();
  EXPECT_TRUE(poll());
  EXPECT_EQ(fired, 1);
  EXPECT_LT(thread_cpu_ns() - cpu_ns, 10 * kMsNs);
  EXPECT_LE(context_->ring().enter_calls() - enters, 2U);
  context_.reset();
  EXPECT_EQ(read.result(), -ECANCELED);
}

// Tasks of this machine that sleep and are counted as waiting for I/O.
[[nodiscard]] int tasks_in_iowait() {
  const std::string key = "procs_blocked ";
  std::ifstream stat("/proc/stat");
  std::string line;
  while (std::getline(stat, line) && line.compare(0, key.size(), key) != 0) {
  }
  return std::stoi(line.substr(key.size()));
}

// A request in flight makes a sleep a wait for I/O, unless the kernel is told otherwise. There are
// others that wait, so it is looked at until nobody does while the loop sleeps.
TEST_F(AioContextWaitTest, AnIdleLoopIsNotCountedAsWaitingForIo) {
  if ((context_->ring().features() & abi::kFeatNoIowait) == 0) {
    GTEST_SKIP() << "IORING_ENTER_NO_IOWAIT needs Linux 6.15";
  }
  constexpr int kConvincing = 20;
  constexpr int kLooks = 500;
  const Pipe pipe(O_CLOEXEC);
  std::array<char, 1> into{};
  CountingHandler read;
  int only_asleep = 0;
  for (int looks = 0; only_asleep < kConvincing; ++looks) {
    if (looks == kLooks) GTEST_SKIP() << "others wait for I/O all the time";
    testing::add_read(*context_, pipe.reader.get(), into, read);
    int asleep = 0;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // it sleeps by now
      asleep = tasks_in_iowait();
      pipe.put();
    });
    const std::uint64_t before = read.calls();
    poll_until([&] { return read.calls() > before; });
    other.join();
    if (asleep == 0) return;
    if (tasks_in_iowait() == 0) ++only_asleep;
  }
  FAIL() << "there is one whenever the loop sleeps";
}

TEST_F(AioContextWaitTest, ANonBlockingPollWithNothingToDoMakesNoSystemCall) {
  EXPECT_FALSE(poll_now());  // arms the context's own notifier
  const std::uint64_t enters = context_->ring().enter_calls();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(poll_now());
  EXPECT_EQ(context_->ring().enter_calls(), enters);
}

// One system call submits and waits for all that was added in between.
TEST_F(AioContextWaitTest, SubmissionsOfOneIterationShareOneSystemCall) {
  EXPECT_FALSE(poll_now());
  std::vector<CountingHandler> nops(100);
  const std::uint64_t enters = context_->ring().enter_calls();
  {
    const SubmitScope scope(*context_);
    for (CountingHandler& nop : nops) testing::add_nop(*context_, nop);
  }
  EXPECT_TRUE(poll());
  EXPECT_EQ(context_->ring().enter_calls(), enters + 1);
  for (const CountingHandler& nop : nops) EXPECT_EQ(nop.calls(), 1U);
}

}  // namespace
}  // namespace ouro::loop
