// Tests of what other threads and signal handlers may do to a context while its loop runs.
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/tsan.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/signal_timer.hpp"
#include "tests/support/watchdog.hpp"

// The loop may tell epoll to forget a number that another thread has closed and opened again: epoll
// answers that it does not know it. ThreadSanitizer sees both use the number.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" const char* __tsan_default_suppressions();
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" const char* __tsan_default_suppressions() {
  return "race:EpollFdMonitor::disarm\nrace:EpollFdMonitor::register_fd\n";
}

namespace ouro::loop {
namespace {

using testing::Pipe;

class LoopThreadsTest : public testing::LoopTest {
 protected:
  // Runs `work(thread number)` in threads while this one runs the loop, until all have returned.
  void while_polling(int threads, const std::function<void(int)>& work) {
    std::atomic<int> left = threads;
    std::vector<std::thread> all;
    all.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        work(i);
        --left;
        context_->notify();
      });
    }
    poll_until([&] { return left == 0; });
    for (std::thread& thread : all) thread.join();
    while (poll_now()) {
    }
  }
};

// --- fd handlers ---------------------------------------------------------------------------------

// Numbers that are closed and become other files at once: no callback gets an event of another's,
// which it would see as a byte that is not its own.
TEST_F(LoopThreadsTest, HandlersComeAndGoWhileTheirNumbersAreUsedAgain) {
  constexpr int kRounds = 300;
  std::atomic<int> served = 0;
  while_polling(3, [&](int) {
    for (int i = 0; i < kRounds; ++i) {
      // Shared with the callback, which can be running in the loop when this goes on.
      const auto pipe = std::make_shared<Pipe>();
      const auto answered = std::make_shared<std::atomic<int>>(0);
      const int fd = pipe->reader.get();
      context_->set_fd_handler(fd, {[pipe, answered, &served] {
                                      if (!pipe->take()) return;  // spurious
                                      ++*answered;
                                      ++served;
                                    },
                                    {}});
      pipe->put();
      if (i % 3 != 0) {
        while (*answered == 0) std::this_thread::yield();
      }
      context_->remove_fd_handler(fd);
      EXPECT_LE(*answered, 1);
    }
  });
  EXPECT_GE(served, 3 * kRounds * 2 / 3);
}

// The same with the fd closed here, before or after removal, so that the number is free while the
// loop still knows it.
TEST_F(LoopThreadsTest, AnFdMayBeClosedAroundItsRemoval) {
  constexpr int kRounds = 300;
  std::atomic<int> calls = 0;
  while_polling(3, [&](int number) {
    for (int i = 0; i < kRounds; ++i) {
      Pipe pipe;
      const int fd = pipe.reader.get();
      context_->set_fd_handler(fd, {[&calls] { ++calls; }, {}});
      if (i % 4 == 0) pipe.put();
      if (i % 2 == number % 2) {
        context_->remove_fd_handler(fd);
        pipe.reader.reset();
      } else {
        // Kept open by a duplicate, as after a fork: epoll goes on watching it.
        const UniqueFd duplicate(::dup(fd));
        context_->remove_fd_handler(fd);
        pipe.reader.reset();
        std::this_thread::yield();
      }
    }
  });
  // Nothing is left that would keep the loop awake.
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(poll_now());
}

TEST_F(LoopThreadsTest, OneHandlerIsReplacedFromManyThreads) {
  const Pipe pipe;
  pipe.put();  // which nobody takes: always ready
  std::atomic<int> calls = 0;
  while_polling(4, [&](int) {
    for (int i = 0; i < 500; ++i) {
      context_->set_fd_handler(pipe.reader.get(), {[&calls] { ++calls; }, {}});
      if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    context_->remove_fd_handler(pipe.reader.get());
  });
  EXPECT_GT(calls, 0);
}

// A handler that owns something may be the last to own it, and freeing it comes back to the loop.
TEST_F(LoopThreadsTest, FreeingAHandlerMayRemoveAnother) {
  struct Owned {
    Owned(AioContext& owner, int other) : context(owner), fd(other) {}
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() { context.remove_fd_handler(fd); }
    AioContext& context;
    int fd;
  };
  const Pipe first;
  const Pipe second;
  context_->set_fd_handler(second.reader.get(), {[] { FAIL(); }, {}});
  context_->set_fd_handler(
      first.reader.get(),
      {[owned = std::make_shared<Owned>(*context_, second.reader.get())] {}, {}});
  context_->remove_fd_handler(first.reader.get());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(poll_now());
  second.put();
  EXPECT_FALSE(poll_now());
}

// --- calls ---------------------------------------------------------------------------------------

TEST_F(LoopThreadsTest, PostedCallsRunOnceAtHomeAndInTheOrderOfTheirThread) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 2000;
  std::array<int, kThreads> next{};
  int wrong = 0;
  while_polling(kThreads, [&](int thread) {
    for (int i = 0; i < kCalls; ++i) {
      context_->post([&, thread, i] {
        int& expected = next[static_cast<std::size_t>(thread)];
        if (expected != i || !context_->in_home_thread()) ++wrong;
        ++expected;
      });
    }
  });
  EXPECT_EQ(wrong, 0);
  for (const int calls : next) EXPECT_EQ(calls, kCalls);
}

TEST_F(LoopThreadsTest, APostedCallMayPostAndNest) {
  int ran = 0;
  context_->post([&] {
    context_->post([&] { ++ran; });
    while (ran == 0) context_->poll(Blocking::kYes);
    ++ran;
  });
  poll_until([&] { return ran == 2; });
}

TEST_F(LoopThreadsTest, CallsThatAreNotRunAreFreedWithTheContext) {
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 50'000; ++i) context_->post([held] { FAIL(); });
  EXPECT_GT(held.use_count(), 50'000);
  context_.reset();
  EXPECT_EQ(held.use_count(), 1);
}

// --- bottom halves -------------------------------------------------------------------------------

// Given away while it is scheduled, and while it may be running.
TEST_F(LoopThreadsTest, BottomHalvesAreDestroyedLaterByOtherThreads) {
  std::atomic<int> ran = 0;
  const auto held = std::make_shared<int>(0);
  while_polling(3, [&](int) {
    for (int i = 0; i < 3000; ++i) {
      auto bh = std::make_unique<BottomHalf>(*context_, [&ran, held] { ++ran; });
      if (i % 3 != 0) bh->schedule();
      if (i % 7 == 0) std::this_thread::yield();
      if (i % 3 == 2) bh->cancel();
      BottomHalf::destroy_later(std::move(bh));
    }
  });
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(poll_now());
}

TEST_F(LoopThreadsTest, OneThatIsDestroyedLaterDoesNotRunAgain) {
  int ran = 0;
  auto bh = std::make_unique<BottomHalf>(*context_, [&] { ++ran; });
  bh->schedule();
  BottomHalf::destroy_later(std::move(bh));
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 0);
}

TEST_F(LoopThreadsTest, OneMayGiveItselfAwayInItsCallback) {
  int ran = 0;
  std::unique_ptr<BottomHalf> bh;
  bh = std::make_unique<BottomHalf>(*context_, [&] {
    ++ran;
    BottomHalf::destroy_later(std::move(bh));
  });
  bh->schedule();
  EXPECT_TRUE(poll_now());
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 1);
}

TEST_F(LoopThreadsTest, WhatWasGivenAwayIsFreedWithTheContext) {
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 10; ++i) {
    auto bh = std::make_unique<BottomHalf>(*context_, [held] { FAIL(); });
    if (i % 2 == 0) bh->schedule();
    BottomHalf::destroy_later(std::move(bh));
  }
  context_.reset();
  EXPECT_EQ(held.use_count(), 1);
}

// --- signal handlers -----------------------------------------------------------------------------

std::atomic<BottomHalf*> scheduled_by_signal = nullptr;
std::atomic<int> signals = 0;

void schedule_from_signal(int /*signal*/) {
  ++signals;
  if (BottomHalf* const bh = scheduled_by_signal) bh->schedule();
}

TEST_F(LoopThreadsTest, ABottomHalfMayBeScheduledFromASignalHandler) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = schedule_from_signal;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  int ran = 0;
  int last_seen = 0;
  BottomHalf bh(*context_, [&] {
    ++ran;
    last_seen = signals;
  });
  scheduled_by_signal = &bh;
  signals = 0;
  const pthread_t home = ::pthread_self();
  constexpr int kSignals = 500;
  while_polling(1, [&](int) {
    for (int i = 1; i <= kSignals; ++i) {
      ::pthread_kill(home, SIGUSR1);
      while (signals < i) {
#ifdef OURO_TSAN
        context_->notify();  // it keeps a signal that comes just before the sleep until after that
#endif
        std::this_thread::yield();
      }
    }
  });
  while (poll_now()) {
  }
  scheduled_by_signal = nullptr;
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_GT(ran, 0);
  EXPECT_EQ(last_seen, kSignals);  // the last one had its run too
}

class SignalledLoopTest : public LoopThreadsTest {
 protected:
  ~SignalledLoopTest() override { scheduled_by_signal = nullptr; }

  void watch_signals() {
    signals = 0;
    scheduled_by_signal = &signalled_;
  }

  int seen_ = 0;
  BottomHalf signalled_{*context_, [this] { seen_ = signals; }};
};

// One that comes between the loop's last look at its calls and its sleep must end that sleep, which
// nothing else does.
TEST_F(SignalledLoopTest, ASignalJustBeforeTheSleepIsNotSleptOver) {
#ifdef OURO_TSAN
  GTEST_SKIP() << "ThreadSanitizer keeps signals back until a call that it knows";
#endif
  constexpr int kRounds = 10'000;
  constexpr std::int64_t kLatestNs = 20'000;
  watch_signals();
  const testing::SignalTimer alarm(SIGALRM, schedule_from_signal);
  for (int i = 1; i <= kRounds; ++i) {
    alarm.start_once(1 + i * std::int64_t{37} % kLatestNs);
    poll_until([&] { return seen_ == i; });
  }
}

// The signal comes while the loop has its list of calls in hand.
TEST_F(SignalledLoopTest, SignalsDoNotDisturbWhatTheLoopSchedulesItself) {
  constexpr int kSignals = 1000;
  constexpr std::int64_t kPeriodNs = 50'000;
  std::vector<int> runs(8);
  std::deque<BottomHalf> own;
  for (int& count : runs) own.emplace_back(*context_, [&count] { ++count; });
  watch_signals();
  int turns = 0;
  {
    const testing::SignalTimer storm(SIGALRM, schedule_from_signal);
    storm.start_every(kPeriodNs);
    for (; signals < kSignals; ++turns) {
      BottomHalf gone(*context_, [] { FAIL() << "it was cancelled by its end"; });
      for (std::size_t i = 0; i < own.size(); ++i) {
        own[i].schedule();
        if (i == own.size() / 2) gone.schedule();
      }
      std::optional<BottomHalf> destroyed(std::in_place, *context_, [] { FAIL(); });
      destroyed->schedule();
      destroyed.reset();
      gone.cancel();
      (void)poll_now();
      ASSERT_EQ(runs, std::vector<int>(own.size(), turns + 1));
    }
  }
  while (seen_ != signals) (void)poll_now();
}

// --- contexts ------------------------------------------------------------------------------------

// Contexts in threads of their own, calling each other.
class ManyContextsTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kThreads = 5;

  // Runs them all until end(); the first one begins with `start`.
  void run(const std::function<void()>& start) {
    std::vector<std::thread> threads;
    std::atomic<std::size_t> ready = 0;
    std::atomic<std::size_t> left = kThreads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const auto context = testing::create_context();
        contexts_[i] = context.get();
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        if (i == 0) context->post(start);
        testing::poll_until(*context, [&] { return over_.load(); });
        --left;  // nobody is told any more once all are here
        while (left > 0) std::this_thread::yield();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void end() {
    over_ = true;
    for (const auto& context : contexts_) context.load()->notify();
  }
  [[nodiscard]] AioContext& context(std::size_t at) { return *contexts_[at].load(); }

 private:
  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  std::array<std::atomic<AioContext*>, kThreads> contexts_{};
  std::atomic<bool> over_ = false;
};

TEST_F(ManyContextsTest, CallEachOther) {
  constexpr int kHops = 2000;
  const std::function<void(std::size_t, int)> hop = [&](std::size_t at, int left) {
    EXPECT_TRUE(context(at).in_home_thread());
    if (left == 0) return end();
    const std::size_t next = (at + 1) % kThreads;
    context(next).post([&hop, next, left] { hop(next, left - 1); });
  };
  run([&] { hop(0, kHops); });
}

// Many at once, to anyone, itself included.
TEST_F(ManyContextsTest, NoneOfManyCallsAtRandomIsLost) {
  constexpr unsigned kCalls = 50;
  constexpr int kHops = 500;
  std::atomic<unsigned> under_way = kCalls;
  std::atomic<int> hops = 0;
  const std::function<void(std::size_t, std::minstd_rand, int)> hop =
      [&](std::size_t at, std::minstd_rand random, int left) {
        EXPECT_TRUE(context(at).in_home_thread());
        if (left == 0) {
          if (--under_way == 0) end();
          return;
        }
        ++hops;
        const std::size_t next = random() % kThreads;
        context(next).post([&hop, next, random, left] { hop(next, random, left - 1); });
      };
  run([&] {
    for (unsigned i = 0; i < kCalls; ++i) hop(0, std::minstd_rand(i + 1), kHops);
  });
  EXPECT_EQ(hops, static_cast<int>(kCalls) * kHops);
}

}  // namespace
}  // namespace ouro::loop
