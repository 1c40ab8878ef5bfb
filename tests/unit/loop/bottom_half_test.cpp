// Tests of BottomHalf: scheduling from any thread, order, cancellation, destruction.
#include "loop/bottom_half.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/loop_test.hpp"

namespace ouro::loop {
namespace {

class BottomHalfTest : public testing::LoopTest {};

TEST_F(BottomHalfTest, RunsOncePerScheduling) {
  int ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  EXPECT_FALSE(poll_now());
  bh.schedule();
  EXPECT_EQ(ran, 0);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 1);
}

TEST_F(BottomHalfTest, SchedulingIsIdempotentUntilItRuns) {
  int ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  for (int i = 0; i < 5; ++i) bh.schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(poll_now());
}

TEST_F(BottomHalfTest, OneThatReschedulesItselfRunsOncePerIteration) {
  int ran = 0;
  std::optional<BottomHalf> bh;
  bh.emplace(*context_, [&] {
    if (++ran < 10) bh->schedule();
  });
  bh->schedule();
  for (int i = 1; i <= 10; ++i) {
    EXPECT_TRUE(poll());
    EXPECT_EQ(ran, i);
  }
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 10);
}

TEST_F(BottomHalfTest, OneThatReschedulesItselfDoesNotStarveCompletions) {
  std::optional<BottomHalf> bh;
  bh.emplace(*context_, [&] { bh->schedule(); });
  bh->schedule();
  testing::CountingHandler nop;
  testing::add_nop(*context_, nop);
  EXPECT_TRUE(poll());
  EXPECT_TRUE(poll());
  EXPECT_EQ(nop.calls(), 1U);
}

TEST_F(BottomHalfTest, RunInTheOrderOfScheduling) {
  std::vector<int> order;
  std::deque<BottomHalf> all;
  for (int i = 0; i < 10; ++i) {
    all.emplace_back(*context_, [&order, i] { order.push_back(i); });
  }
  for (BottomHalf& bh : all) bh.schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(BottomHalfTest, ACancelledOneDoesNotRunUntilScheduledAgain) {
  int ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  bh.schedule();
  bh.cancel();
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 0);
  bh.schedule();
  bh.cancel();
  bh.schedule();  // while it is still linked from before
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(poll_now());
}

TEST_F(BottomHalfTest, ADestroyedOneDoesNotRun) {
  int ran = 0;
  {
    BottomHalf bh(*context_, [&] { ++ran; });
    bh.schedule();
  }
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(ran, 0);
}

TEST_F(BottomHalfTest, OneMayDestroyItselfInItsCallback) {
  int ran = 0;
  std::unique_ptr<BottomHalf> bh;
  bh = std::make_unique<BottomHalf>(*context_, [&ran, &bh] {
    ++ran;
    bh.reset();
  });
  bh->schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(bh, nullptr);
  EXPECT_FALSE(poll_now());
}

// The middle one destroys itself and both neighbours, of which one has run and one never will.
TEST_F(BottomHalfTest, OneMayDestroyOthersThatAreDue) {
  std::array<int, 5> ran{};
  std::array<std::unique_ptr<BottomHalf>, 5> all;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = std::make_unique<BottomHalf>(*context_, [&ran, &all, i] {
      ++ran[i];
      if (i == 2) {
        all[1].reset();
        all[3].reset();
        all[2].reset();
      }
    });
  }
  for (auto& bh : all) bh->schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, (std::array{1, 1, 1, 0, 1}));
  EXPECT_FALSE(poll_now());
}

TEST_F(BottomHalfTest, ManyMayDestroyThemselvesAfterSomeRuns) {
  std::array<int, 5> ran{};
  std::array<std::unique_ptr<BottomHalf>, 5> all;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = std::make_unique<BottomHalf>(*context_, [&ran, &all, i] {
      ++ran[i];
      if (ran[i] <= static_cast<int>(i)) return all[i]->schedule();
      all[i].reset();
    });
    all[i]->schedule();
  }
  int iterations = 0;
  while (poll_now()) ++iterations;
  EXPECT_EQ(iterations, 5);
  EXPECT_EQ(ran, (std::array{1, 2, 3, 4, 5}));
  for (const auto& bh : all) EXPECT_EQ(bh, nullptr);
}

TEST_F(BottomHalfTest, DrainsWhileRescheduled) {
  constexpr int kTimes = 5;
  int left = kTimes;
  std::optional<BottomHalf> bh;
  bh.emplace(*context_, [&] {
    if (--left > 0) bh->schedule();
  });
  bh->schedule();
  int iterations = 0;
  while (poll_now()) ++iterations;
  EXPECT_EQ(left, 0);
  EXPECT_EQ(iterations, kTimes);
}

// --- from other threads --------------------------------------------------------------------------

TEST_F(BottomHalfTest, WakesALoopThatSleeps) {
  const std::thread::id home = std::this_thread::get_id();
  std::thread::id ran_in;
  BottomHalf bh(*context_, [&] { ran_in = std::this_thread::get_id(); });
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    bh.schedule();
  });
  poll_until([&] { return ran_in != std::thread::id(); });
  EXPECT_EQ(ran_in, home);
  EXPECT_LE(context_->notify_writes(), 1U);
  other.join();
}

// The loop sleeps; a bottom half puts an SQE on the ring. It must reach the kernel at once, not
// when something else happens to wake the loop.
TEST_F(BottomHalfTest, OneInPassingRunsInTheNextIterationAndWakesNobody) {
  std::atomic<int> ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  for (int i = 0; i < 3; ++i) bh.schedule_in_passing();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(poll_now());

  // The loop sleeps: nothing happens until something else does.
  std::atomic<bool> over = false;
  BottomHalf end(*context_, [&] { over = true; });
  int ran_before_the_end = -1;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    bh.schedule_in_passing();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ran_before_the_end = ran;
    end.schedule();
  });
  poll_until([&] { return over && ran == 2; });
  other.join();
  // Other drives have reasons of their own to iterate.
  if (testing::tested_drive() == Drive::kOwn) {
    EXPECT_EQ(ran_before_the_end, 1);
  }
}

TEST_F(BottomHalfTest, OneInPassingIsHurriedByScheduling) {
  std::atomic<int> ran = 0;
  BottomHalf bh(*context_, [&] { ++ran; });
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    bh.schedule_in_passing();
    bh.schedule();  // or the loop would sleep for ever
  });
  while (ran == 0) (void)poll();
  other.join();
  EXPECT_EQ(ran, 1);
}

TEST_F(BottomHalfTest, AnSqeAddedByABottomHalfOfASleepingLoopIsSubmittedAtOnce) {
  constexpr int kRounds = 20;
  std::atomic<std::int64_t> scheduled_ns = 0;
  std::int64_t best_ns = 1'000'000'000;
  std::atomic<int> rounds = 0;
  testing::CountingHandler nop([&](testing::CountingHandler&) {
    best_ns = std::min(best_ns, monotonic_now_ns() - scheduled_ns);
    ++rounds;
  });
  BottomHalf bh(*context_, [&] { testing::add_nop(*context_, nop); });
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      while (rounds < i) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // asleep by now
      scheduled_ns = monotonic_now_ns();
      bh.schedule();
    }
  });
  poll_until([&] { return rounds == kRounds; });
  other.join();
  EXPECT_LT(best_ns, 1'000'000);
}

// Every request must be followed by a run that sees it, however the threads interleave.
TEST_F(BottomHalfTest, NoSchedulingIsLostInAStorm) {
  constexpr std::size_t kThreads = 4;
  constexpr int kRounds = 5000;
  struct Lane {
    std::atomic<int> wanted = 0;
    int seen = 0;
    std::optional<BottomHalf> own;
  };
  std::array<Lane, kThreads> lanes;
  int shared_seen = 0;
  BottomHalf shared(*context_, [&] {
    shared_seen = 0;
    for (const Lane& lane : lanes) shared_seen += lane.wanted;
  });
  for (Lane& lane : lanes) {
    lane.own.emplace(*context_, [&lane] { lane.seen = lane.wanted; });
  }
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (Lane& lane : lanes) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        ++lane.wanted;
        lane.own->schedule();
        shared.schedule();
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  poll_until([&] {
    return shared_seen == static_cast<int>(kThreads) * kRounds &&
           std::all_of(lanes.begin(), lanes.end(),
                       [&](const Lane& lane) { return lane.seen == kRounds; });
  });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(BottomHalfTest, CancellingFromAnotherThreadNeverLosesALaterScheduling) {
  std::atomic<bool> stop = false;
  std::atomic<int> wanted = 0;
  int seen = 0;
  BottomHalf bh(*context_, [&] { seen = wanted; });
  std::thread canceller([&] {
    while (!stop) {
      bh.cancel();
      std::this_thread::yield();
    }
  });
  std::thread scheduler([&] {
    for (int i = 0; i < 2000; ++i) {
      bh.schedule();
      std::this_thread::yield();
    }
    stop = true;
    canceller.join();
    wanted = 1;
    bh.schedule();
  });
  poll_until([&] { return seen == 1; });
  scheduler.join();
}

}  // namespace
}  // namespace ouro::loop
