#include "passthrough/file_locks.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kRead = LockType::kRead;
constexpr auto kWrite = LockType::kWrite;
constexpr auto kNone = LockType::kNone;
constexpr LockOwner kAnn = 1;
constexpr LockOwner kBob = 2;
constexpr LockOwner kCid = 3;

// Remembers which waits have ended, in what order.
class Ends final : public LockListener {
 public:
  void lock_wait_ended(std::uint64_t id, int errno_value) override {
    const std::lock_guard lock(mutex_);
    ends_.emplace_back(id, errno_value);
    changed_.notify_all();
  }
  // The error that the wait has ended with; -1 if it goes on.
  int of(std::uint64_t id, milliseconds patience = seconds(20)) {
    std::unique_lock lock(mutex_);
    int error = -1;
    changed_.wait_for(lock, patience, [&] { return (error = find(id)) != -1; });
    return error;
  }
  bool goes_on(std::uint64_t id) { return of(id, milliseconds(150)) == -1; }
  std::vector<std::uint64_t> order() {
    const std::lock_guard lock(mutex_);
    std::vector<std::uint64_t> ids;
    for (const auto& [id, error] : ends_) ids.push_back(id);
    return ids;
  }

 private:
  [[nodiscard]] int find(std::uint64_t id) const {
    for (const auto& [ended, error] : ends_) {
      if (ended == id) return error;
    }
    return -1;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::uint64_t, int>> ends_;
};

class FileLocksTest : public ::testing::Test {
 protected:
  void SetUp() override { write_file(dir_ / "file", "content"); }

  // What a client's open() of the file is.
  std::shared_ptr<FileHandle> open(int flags = O_RDWR) {
    return std::make_shared<FileHandle>(inode_, native(flags), loop::UniqueFd());
  }
  [[nodiscard]] loop::UniqueFd native(int flags = O_RDWR) const {
    return loop::UniqueFd(::open((dir_ / "file").c_str(), flags | O_CLOEXEC));
  }
  LockRequest request(LockOwner owner, RangeLock lock) {
    return {file_, 1, LockKind::kRanges, owner, static_cast<pid_t>(1000 + owner), lock};
  }
  static LockRequest whole(std::shared_ptr<FileHandle> file, LockType type) {
    return {std::move(file), 1, LockKind::kWholeFile, 0, 0, {type, 0, kLastByte}};
  }
  int lock(LockOwner owner, RangeLock range) {
    return error_of(locks_.lock(request(owner, range)));
  }
  int wait(LockOwner owner, RangeLock range, std::uint64_t id) {
    const auto wait = locks_.lock_or_wait(request(owner, range), id, ends_);
    EXPECT_TRUE(!wait || *wait == LockWait::kBegun);
    return error_of(wait);
  }
  // What a process beside the mount would be answered.
  int lock_natively(const loop::UniqueFd& fd, short type, off_t start, off_t length) {
    struct ::flock lock {};
    lock.l_type = type;
    lock.l_start = start;
    lock.l_len = length;
    return ::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0 ? 0 : errno;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), seconds(60)};
  const testing::TempDir dir_;
  const InodeRef inode_ =
      std::make_shared<const Inode>(Inode{.key = {1, 2, 3}, .type = S_IFREG, .path_fd = {}});
  Ends ends_;
  FileLocks locks_;
  std::shared_ptr<FileHandle> file_ = (SetUp(), open());
};

// --- ranges --------------------------------------------------------------------------------------

TEST_F(FileLocksTest, OwnersExcludeEachOther) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(lock(kBob, {kRead, 9, 20}), EAGAIN);
  EXPECT_EQ(lock(kBob, {kRead, 10, 20}), 0);
  EXPECT_EQ(lock(kAnn, {kRead, 0, kLastByte}), 0) << "turns its own lock into another";
  EXPECT_EQ(lock(kBob, {kRead, 0, 9}), 0);
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 0}), EAGAIN);
  EXPECT_EQ(lock(kBob, {kNone, 0, kLastByte}), 0);
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 0}), 0);
  EXPECT_EQ(locks_.table().size(), 2U);
}

TEST_F(FileLocksTest, WhatIsBesideTheMountIsExcludedAndExcludes) {
  const loop::UniqueFd fd = native();
  EXPECT_EQ(lock(kAnn, {kWrite, 5, 9}), 0);
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 0, 0), EAGAIN);
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 0, 5), 0);
  EXPECT_EQ(lock(kAnn, {kRead, 0, 9}), EAGAIN);
  EXPECT_EQ(lock(kAnn, {kNone, 0, kLastByte}), 0);
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 0, 0), 0);
}

TEST_F(FileLocksTest, ToCloseUnlocksTheOwnersRangesOnly) {
  EXPECT_EQ(lock(kAnn, {kRead, 0, 9}), 0);
  EXPECT_EQ(lock(kBob, {kRead, 5, 20}), 0);
  locks_.close_owner(*file_, kAnn);
  locks_.close_owner(*file_, kCid);
  EXPECT_EQ(lock(kCid, {kWrite, 0, 4}), 0);
  EXPECT_EQ(lock(kCid, {kWrite, 5, 5}), EAGAIN);
  locks_.close_owner(*file_, kBob);
  locks_.close_owner(*file_, kCid);
  EXPECT_EQ(locks_.table().size(), 0U);
  EXPECT_EQ(lock_natively(native(), F_WRLCK, 0, 0), 0);
}

TEST_F(FileLocksTest, ALateReleaseUnlocksWhatWasLockedByTheHandle) {
  // Locks of an open file description of the client: no FLUSH names their owner.
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 1), 0);
  EXPECT_NE(locks_.release(open(), 2, FileLocks::Flock::kNone), nullptr);
  EXPECT_TRUE(ends_.goes_on(1)) << "another handle";
  locks_.release(file_, 1, FileLocks::Flock::kNone).reset();
  EXPECT_EQ(ends_.of(1), 0);
  EXPECT_EQ(locks_.table().size(), 1U);
  EXPECT_EQ(locks_.release(nullptr, 1, FileLocks::Flock::kUnlock), nullptr);
}

TEST_F(FileLocksTest, AReaderThatOpensForWritingKeepsWhatItHas) {
  LockRequest reading = request(kAnn, {kRead, 0, 9});
  reading.file = open(O_RDONLY);
  EXPECT_EQ(error_of(locks_.lock(reading)), 0);
  const loop::UniqueFd fd = native();
  EXPECT_EQ(lock(kAnn, {kWrite, 20, 29}), 0) << "by the handle that may write";
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 0, 1), EAGAIN);
  EXPECT_EQ(lock_natively(fd, F_RDLCK, 0, 10), 0);
  EXPECT_EQ(lock_natively(fd, F_RDLCK, 20, 1), EAGAIN);
  EXPECT_EQ(locks_.table().size(), 1U);
}

TEST_F(FileLocksTest, AReadersLockLetsAProgramBeRun) {
  LockRequest reading = request(kAnn, {kRead, 0, 9});
  reading.file = open(O_RDONLY);
  file_.reset();
  ASSERT_EQ(error_of(locks_.lock(reading)), 0);
  ASSERT_EQ(::chmod((dir_ / "file").c_str(), 0755), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl((dir_ / "file").c_str(), "file", nullptr);
    ::_exit(errno);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), ENOEXEC) << "rather than ETXTBSY";
}

TEST_F(FileLocksTest, TellsWhoHasWhatIsWanted) {
  EXPECT_EQ(lock(kAnn, {kRead, 10, 19}), 0);
  EXPECT_FALSE(locks_.conflict(request(kAnn, {kWrite, 0, kLastByte})).value());
  EXPECT_FALSE(locks_.conflict(request(kBob, {kRead, 0, kLastByte})).value());
  const auto held = locks_.conflict(request(kBob, {kWrite, 0, kLastByte})).value();
  ASSERT_TRUE(held);
  EXPECT_EQ(held->lock, (RangeLock{kRead, 10, 19}));
  EXPECT_EQ(held->pid, static_cast<pid_t>(1000 + kAnn));

  const loop::UniqueFd fd = native();
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 30, 0), 0);
  const auto native = locks_.conflict(request(kAnn, {kRead, 20, kLastByte})).value();
  ASSERT_TRUE(native);
  EXPECT_EQ(native->lock, (RangeLock{kWrite, 30, kLastByte}));
  EXPECT_EQ(native->pid, 0) << "an open file description is no process";
}

// --- whole files ---------------------------------------------------------------------------------

TEST_F(FileLocksTest, WholeFilesAreLockedByTheirHandles) {
  const auto other = open();
  const loop::UniqueFd fd = native();
  EXPECT_EQ(error_of(locks_.lock(whole(file_, kRead))), 0);
  EXPECT_EQ(error_of(locks_.lock(whole(other, kRead))), 0);
  EXPECT_EQ(::flock(fd.get(), LOCK_EX | LOCK_NB), -1);
  EXPECT_EQ(error_of(locks_.lock(whole(other, kNone))), 0);
  EXPECT_EQ(error_of(locks_.lock(whole(file_, kWrite))), 0);
  EXPECT_EQ(error_of(locks_.lock(whole(other, kRead))), EAGAIN);
  EXPECT_EQ(lock(kBob, {kWrite, 0, kLastByte}), 0) << "ranges are another matter";
  // Somebody still uses the file when its last client closes it.
  const auto in_use = file_;
  locks_.release(file_, 1, FileLocks::Flock::kUnlock).reset();
  EXPECT_EQ(::flock(fd.get(), LOCK_EX | LOCK_NB), 0);
}

// --- waiting -------------------------------------------------------------------------------------

TEST_F(FileLocksTest, AWaitEndsWithTheLock) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 1), 0);
  EXPECT_TRUE(ends_.goes_on(1));
  EXPECT_EQ(locks_.waiting(), 1U);
  EXPECT_EQ(lock(kAnn, {kNone, 0, 9}), 0);
  EXPECT_EQ(ends_.of(1), 0);
  EXPECT_EQ(lock(kAnn, {kRead, 0, 9}), EAGAIN);
  EXPECT_EQ(*locks_.lock_or_wait(request(kAnn, {kRead, 20, 29}), 2, ends_), LockWait::kNone);
}

TEST_F(FileLocksTest, AWaitForWhatIsLockedNativelyEndsWithIt) {
  loop::UniqueFd fd = native();
  EXPECT_EQ(lock_natively(fd, F_WRLCK, 0, 0), 0);
  EXPECT_EQ(::flock(fd.get(), LOCK_EX), 0);
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 1), 0);
  EXPECT_EQ(*locks_.lock_or_wait(whole(file_, kWrite), 2, ends_), LockWait::kBegun);
  EXPECT_TRUE(ends_.goes_on(1));
  EXPECT_TRUE(ends_.goes_on(2));
  fd.reset();
  EXPECT_EQ(ends_.of(1), 0);
  EXPECT_EQ(ends_.of(2), 0);
}

TEST_F(FileLocksTest, LessThanBeforeIsSomethingGivenUp) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(wait(kBob, {kRead, 0, 9}, 1), 0);
  EXPECT_EQ(wait(kCid, {kRead, 0, 9}, 2), 0);
  EXPECT_EQ(lock(kAnn, {kRead, 0, 9}), 0);
  EXPECT_EQ(ends_.of(1), 0);
  EXPECT_EQ(ends_.of(2), 0);
}

TEST_F(FileLocksTest, ManyWaitInTheOrderTheyCame) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  std::vector<std::uint64_t> ids;
  for (LockOwner owner = 100; owner < 164; ++owner) {
    EXPECT_EQ(wait(owner, {kWrite, 0, 9}, owner), 0);
    ids.push_back(owner);
  }
  EXPECT_EQ(locks_.waiting(), 64U);
  locks_.close_owner(*file_, kAnn);
  for (const std::uint64_t id : ids) {
    EXPECT_EQ(ends_.of(id), 0);
    locks_.close_owner(*file_, id);
  }
  EXPECT_EQ(ends_.order(), ids);
}

TEST_F(FileLocksTest, AWaitCanBeCancelled) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 1), 0);
  EXPECT_EQ(wait(kCid, {kWrite, 0, 9}, 2), 0);
  EXPECT_FALSE(locks_.cancel(3));
  EXPECT_TRUE(locks_.cancel(1));
  EXPECT_EQ(ends_.of(1), EINTR);
  EXPECT_FALSE(locks_.cancel(1));
  EXPECT_EQ(lock(kAnn, {kNone, 0, 9}), 0);
  EXPECT_EQ(ends_.of(2), 0);
}

TEST_F(FileLocksTest, AbandonedWaitsEndToo) {
  Ends others;
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 1), 0);
  EXPECT_TRUE(locks_.lock_or_wait(request(kCid, {kWrite, 0, 9}), 2, others));
  locks_.abandon(ends_);
  EXPECT_EQ(ends_.of(1), ENOLCK);
  EXPECT_EQ(lock(kAnn, {kNone, 0, 9}), 0);
  EXPECT_EQ(others.of(2), 0);
  locks_.abandon(others);
}

TEST_F(FileLocksTest, ACircleOfWaitsIsRefused) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 0}), 0);
  EXPECT_EQ(lock(kBob, {kWrite, 1, 1}), 0);
  EXPECT_EQ(lock(kCid, {kWrite, 2, 2}), 0);
  EXPECT_EQ(wait(kAnn, {kWrite, 1, 1}, 1), 0);
  EXPECT_EQ(wait(kBob, {kRead, 2, 2}, 2), 0);
  EXPECT_EQ(wait(kCid, {kWrite, 0, 0}, 3), EDEADLK);
  locks_.close_owner(*file_, kCid);
  EXPECT_EQ(ends_.of(2), 0);
  locks_.close_owner(*file_, kBob);
  EXPECT_EQ(ends_.of(1), 0);
}

TEST_F(FileLocksTest, NotEverybodyMayWait) {
  EXPECT_EQ(lock(kAnn, {kWrite, 0, 9}), 0);
  for (std::uint64_t id = 0; id < FileLocks::kMaxWaiting; ++id) {
    ASSERT_TRUE(locks_.lock_or_wait(request(kBob, {kWrite, 0, 9}), id, ends_));
  }
  EXPECT_EQ(wait(kBob, {kWrite, 0, 9}, 5000), ENOLCK);
  locks_.abandon(ends_);
}

TEST_F(FileLocksTest, ManyThreadsLockAndUnlock) {
  constexpr int kThreads = 8;
  std::atomic<int> inside = 0;
  std::atomic<int> turns = 0;
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      const auto owner = static_cast<LockOwner>(10 + number);
      for (int i = 0; i < 50; ++i) {
        const auto id = static_cast<std::uint64_t>(number * 1000 + i);
        const auto wait = locks_.lock_or_wait(request(owner, {kWrite, 0, 9}), id, ends_);
        ASSERT_TRUE(wait);
        if (*wait == LockWait::kBegun) {
          ASSERT_EQ(ends_.of(id), 0);
        }
        ASSERT_EQ(inside.fetch_add(1), 0);
        ++turns;
        inside.fetch_sub(1);
        if (i % 3 == 0) {
          locks_.close_owner(*file_, owner);
        } else {
          ASSERT_EQ(lock(owner, {kNone, 0, kLastByte}), 0);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(turns, kThreads * 50);
}

}  // namespace
}  // namespace ouro::passthrough
