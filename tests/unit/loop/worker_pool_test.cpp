// Tests of WorkerPool: where jobs run and complete, how many threads, order, destruction.
#include "loop/worker_pool.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"

namespace ouro::loop {
namespace {

class TestJob final : public Job {
 public:
  explicit TestJob(
      std::function<void()> run, std::function<void()> done = [] {})
      : run_(std::move(run)), done_(std::move(done)) {}
  // Read in the home thread.
  [[nodiscard]] int completions() const { return completions_; }

 private:
  void run() override { run_(); }
  void done() override {
    ++completions_;
    done_();
  }

  std::function<void()> run_;
  std::function<void()> done_;
  int completions_ = 0;
};

// Holds jobs until it is opened, and knows how many are held.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for(int waiting) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= waiting; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

class WorkerPoolTest : public testing::LoopTest {
 protected:
  [[nodiscard]] std::vector<std::unique_ptr<TestJob>> submit_many(
      WorkerPool& pool, int count, const std::function<void(int)>& run,
      const std::function<void(int)>& done = [](int) {}) {
    std::vector<std::unique_ptr<TestJob>> jobs;
    for (int i = 0; i < count; ++i) {
      jobs.push_back(std::make_unique<TestJob>([run, i] { run(i); }, [done, i] { done(i); }));
      pool.submit(*jobs.back());
    }
    return jobs;
  }
};

TEST_F(WorkerPoolTest, RunsElsewhereAndCompletesAtHome) {
  const std::thread::id home = std::this_thread::get_id();
  std::thread::id ran_in;
  std::thread::id done_in;
  TestJob job([&] { ran_in = std::this_thread::get_id(); },
              [&] { done_in = std::this_thread::get_id(); });
  WorkerPool pool(*context_, 2);
  pool.submit(job);
  poll_until([&] { return job.completions() > 0; });
  EXPECT_NE(ran_in, home);
  EXPECT_NE(ran_in, std::thread::id());
  EXPECT_EQ(done_in, home);
  EXPECT_EQ(job.completions(), 1);
}

TEST_F(WorkerPoolTest, NothingCompletesBeforeTheLoopRuns) {
  std::atomic<bool> ran = false;
  TestJob job([&] { ran = true; });
  WorkerPool pool(*context_, 1);
  pool.submit(job);
  while (!ran) std::this_thread::yield();
  EXPECT_EQ(job.completions(), 0);
  poll_until([&] { return job.completions() > 0; });
}

TEST_F(WorkerPoolTest, TheLoopGoesOnWhileAJobBlocks) {
  Gate gate;
  TestJob job([&] { gate.pass(); });
  WorkerPool pool(*context_, 1);
  pool.submit(job);
  gate.wait_for(1);
  testing::CountingHandler nop;
  testing::add_nop(*context_, nop);
  poll_until([&] { return nop.calls() > 0; });
  EXPECT_EQ(job.completions(), 0);
  gate.open();
  poll_until([&] { return job.completions() > 0; });
}

TEST_F(WorkerPoolTest, OneThreadRunsAndCompletesJobsInOrder) {
  std::vector<int> ran;
  std::vector<int> done;
  WorkerPool pool(*context_, 1);
  const auto jobs = submit_many(
      pool, 50, [&](int i) { ran.push_back(i); }, [&](int i) { done.push_back(i); });
  poll_until([&] { return done.size() == 50; });
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
  EXPECT_EQ(done, ran);
}

// As many jobs as threads block at once: that many threads, and no more.
TEST_F(WorkerPoolTest, UsesAsManyThreadsAsAllowedAndNeeded) {
  constexpr int kThreads = 3;
  Gate gate;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  int done = 0;
  WorkerPool pool(*context_, kThreads);
  const auto jobs = submit_many(
      pool, 20,
      [&](int) {
        {
          const std::lock_guard lock(mutex);
          threads.insert(std::this_thread::get_id());
        }
        gate.pass();
      },
      [&](int) { ++done; });
  gate.wait_for(kThreads);
  EXPECT_EQ(done, 0);
  gate.open();
  poll_until([&] { return done == 20; });
  EXPECT_EQ(threads.size(), static_cast<std::size_t>(kThreads));
}

[[nodiscard]] std::ptrdiff_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST_F(WorkerPoolTest, WhatHasNotBegunCanBeTakenBack) {
  Gate gate;
  WorkerPool pool(*context_, 1);
  TestJob running([&] { gate.pass(); });
  TestJob first([] { ADD_FAILURE() << "it was taken back"; });
  TestJob second([] {});
  pool.submit(running);
  gate.wait_for(1);
  pool.submit(first);
  pool.submit(second);
  EXPECT_TRUE(pool.cancel(first));
  EXPECT_FALSE(pool.cancel(first)) << "it is there no more";
  EXPECT_FALSE(pool.cancel(running)) << "it has begun";
  gate.open();
  poll_until([&] { return second.completions() > 0; });
  EXPECT_EQ(running.completions(), 1);
  EXPECT_FALSE(pool.cancel(running)) << "it is done";
  EXPECT_EQ(first.completions(), 0);
  // It is the caller's again.
  pool.submit(second);
  poll_until([&] { return second.completions() == 2; });
}

TEST_F(WorkerPoolTest, TakesNoMoreThanMayWait) {
  Gate gate;
  WorkerPool pool(*context_, 1, Placement::kAnywhere, 2);
  TestJob running([&] { gate.pass(); });
  ASSERT_TRUE(pool.try_submit(running));
  gate.wait_for(1);
  TestJob first([] {});
  TestJob second([] {});
  TestJob third([] {});
  EXPECT_TRUE(pool.try_submit(first));
  EXPECT_TRUE(pool.try_submit(second));
  EXPECT_FALSE(pool.try_submit(third));
  EXPECT_TRUE(pool.cancel(second)) << "which makes room";
  EXPECT_TRUE(pool.try_submit(third));
  gate.open();
  poll_until([&] { return first.completions() + third.completions() == 2; });
  EXPECT_EQ(second.completions(), 0);
}

TEST_F(WorkerPoolTest, WhatHasRunIsDoneAndNotTakenBack) {
  WorkerPool pool(*context_, 1);
  std::atomic<bool> ran = false;
  TestJob job([&] { ran = true; });
  pool.submit(job);
  while (!ran) std::this_thread::yield();
  EXPECT_FALSE(pool.cancel(job));
  poll_until([&] { return job.completions() > 0; });
}

TEST_F(WorkerPoolTest, AnIdleThreadIsUsedAgain) {
  constexpr unsigned kJobs = 8;
  WorkerPool pool(*context_, kJobs);
  const std::ptrdiff_t before = threads_of_this_process();
  for (unsigned i = 0; i < kJobs; ++i) {
    TestJob job([] {});
    pool.submit(job);
    poll_until([&] { return job.completions() > 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // it has come to rest
  }
  EXPECT_LT(threads_of_this_process() - before, kJobs / 2);
}

TEST_F(WorkerPoolTest, DoneMayResubmitItsJob) {
  constexpr int kTimes = 1000;
  int ran = 0;
  WorkerPool pool(*context_, 2);
  std::optional<TestJob> job;
  job.emplace([&] { ++ran; },
              [&] {
                if (job->completions() < kTimes) pool.submit(*job);
              });
  pool.submit(*job);
  poll_until([&] { return job->completions() == kTimes; });
  EXPECT_EQ(ran, kTimes);
}

TEST_F(WorkerPoolTest, DoneMayFreeItsJob) {
  int done = 0;
  WorkerPool pool(*context_, 2);
  std::array<std::unique_ptr<TestJob>, 10> jobs;
  for (auto& job : jobs) {
    job = std::make_unique<TestJob>([] {},
                                    [&job, &done] {
                                      ++done;
                                      job.reset();
                                    });
    pool.submit(*job);
  }
  poll_until([&] { return done == 10; });
}

// Both have run when the first one's done() waits for the second one.
TEST_F(WorkerPoolTest, DoneMayWaitForAnotherJobInANestedLoop) {
  std::atomic<int> ran = 0;
  TestJob second([&] { ++ran; });
  TestJob first([&] { ++ran; }, [&] { poll_until([&] { return second.completions() > 0; }); });
  WorkerPool pool(*context_, 1);
  pool.submit(first);
  pool.submit(second);
  while (ran < 2) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // both have been handed back
  poll_until([&] { return first.completions() > 0; });
  EXPECT_EQ(second.completions(), 1);
}

// --- destruction ---------------------------------------------------------------------------------

TEST_F(WorkerPoolTest, DestructionWithoutJobsEndsIdleThreads) {
  WorkerPool unused(*context_, 4);
  TestJob job([] {});
  WorkerPool used(*context_, 4);
  used.submit(job);
  poll_until([&] { return job.completions() > 0; });
}

TEST_F(WorkerPoolTest, DestructionWaitsForRunningJobsAndDropsTheOthers) {
  Gate gate;
  std::atomic<int> begun = 0;
  std::atomic<int> ended = 0;
  int done = 0;
  std::vector<std::unique_ptr<TestJob>> jobs;
  std::thread opener;
  {
    WorkerPool pool(*context_, 2);
    jobs = submit_many(
        pool, 10,
        [&](int) {
          ++begun;
          gate.pass();
          ++ended;
        },
        [&](int) { ++done; });
    gate.wait_for(2);
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      gate.open();
    });
  }
  EXPECT_EQ(begun, ended);
  EXPECT_EQ(begun, 2);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(done, 0);
  opener.join();
}

TEST_F(WorkerPoolTest, DoneMayDestroyThePool) {
  auto pool = std::make_unique<WorkerPool>(*context_, 1);
  TestJob job([] {}, [&] { pool.reset(); });
  pool->submit(job);
  poll_until([&] { return job.completions() > 0; });
  EXPECT_EQ(pool, nullptr);
  EXPECT_FALSE(poll_now());
}

// --- where and when
// -------------------------------------------------------------------------------

// Ends in passing.
class QuietJob final : public Job {
 public:
  std::atomic<bool> ran = false;
  int completions = 0;

 private:
  void run() override {
    be_done_in_passing();
    ran = true;
  }
  void done() override { ++completions; }
};

TEST_F(WorkerPoolTest, AJobMayEndWithoutWakingTheLoop) {
  WorkerPool pool(*context_, 1);
  QuietJob job;
  // Nothing else would end a blocking poll().
  for (int times = 1; times <= 3; ++times) {
    pool.submit(job);
    while (job.completions < times) (void)poll_now();
  }
  EXPECT_TRUE(job.ran);

  QuietJob unseen;
  pool.submit(unseen);
  while (!unseen.ran) std::this_thread::yield();
  bool over = false;
  Timer end(*context_, [&over] { over = true; });
  end.arm_in(20'000'000);
  poll_until([&over] { return over; });  // or for ever
  while (unseen.completions == 0) (void)poll_now();
}

TEST_F(WorkerPoolTest, InAHurryNoEndIsKeptBack) {
  WorkerPool pool(*context_, 1);
  QuietJob early;
  pool.submit(early);
  while (!early.ran) std::this_thread::yield();
  pool.hurry();
  while (early.completions == 0) (void)poll();  // asleep otherwise
  QuietJob late;
  pool.submit(late);
  while (late.completions == 0) (void)poll();
}

TEST_F(WorkerPoolTest, WorkersBesideTheHomeThreadFollowIt) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  WorkerPool pool(*context_, 2, Placement::kBesideHome);
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(cpu, &here);
    ASSERT_EQ(::sched_setaffinity(0, sizeof here, &here), 0);
    for (int i = 0; i < 3; ++i) {  // the first may begin before it is moved
      cpu_set_t found;
      CPU_ZERO(&found);
      TestJob job([&] { (void)::sched_getaffinity(0, sizeof found, &found); });
      pool.submit(job);
      poll_until([&] { return job.completions() > 0; });
      if (i > 0) {
        EXPECT_TRUE(CPU_EQUAL(&found, &here)) << "CPU " << cpu;
      }
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof allowed, &allowed), 0);
  WorkerPool anywhere(*context_, 1);
  cpu_set_t found;
  TestJob job([&] { (void)::sched_getaffinity(0, sizeof found, &found); });
  anywhere.submit(job);
  poll_until([&] { return job.completions() > 0; });
  EXPECT_TRUE(CPU_EQUAL(&found, &allowed));
}

// --- no thread to be had -------------------------------------------------------------------------

// RLIMIT_NPROC binds no root, so a child becomes somebody else who may have no further thread.
[[nodiscard]] int complete_a_job_without_threads() {
  const auto context = testing::create_context();
  if (::geteuid() == 0 && ::setresuid(60'123, 60'123, 60'123) != 0) return 2;
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_NPROC, &none) != 0) return 3;
  std::thread::id ran_in;
  TestJob job([&] { ran_in = std::this_thread::get_id(); });
  WorkerPool pool(*context, 4);
  pool.submit(job);
  if (job.completions() != 0) return 4;
  testing::poll_until(*context, [&] { return job.completions() > 0; });
  return ran_in == std::this_thread::get_id() ? 0 : 5;
}

TEST(WorkerPoolLimitTest, AJobIsDoneAtHomeWhenNoThreadCanBeStarted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(::_exit(complete_a_job_without_threads()), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ouro::loop
