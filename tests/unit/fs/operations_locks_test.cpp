#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

constexpr std::uint64_t kToEnd = std::numeric_limits<std::int64_t>::max();

class LocksTest : public ServedTree {
 protected:
  [[nodiscard]] Message lock(std::uint32_t opcode, std::uint64_t owner, std::uint32_t type,
                             std::uint64_t start = 0, std::uint64_t end = kToEnd) const {
    return Message(opcode).with(
        fuse_lk_in{handle_, owner, {start, end, type, 1000 + std::uint32_t(owner)}, 0, 0});
  }
  [[nodiscard]] Message flock(std::uint32_t opcode, std::uint64_t handle,
                              std::uint32_t type) const {
    return Message(opcode).with(fuse_lk_in{handle, 77, {0, kToEnd, type, 0}, FUSE_LK_FLOCK, 0});
  }
  void start() {
    backing_.put_file("file", "content");
    handle_ = open("file", O_RDWR);
    native_.reset(::open(path("file").c_str(), O_RDWR | O_CLOEXEC));
  }
  [[nodiscard]] bool is_locked_natively() const {
    struct ::flock wanted {};
    wanted.l_type = F_WRLCK;
    EXPECT_EQ(::fcntl(native_.get(), F_OFD_GETLK, &wanted), 0);
    return wanted.l_type != F_UNLCK;
  }
  [[nodiscard]] bool goes_on(std::uint64_t unique) {
    catch_up();
    kernel().collect();
    return !kernel().answered(unique);
  }

  std::uint64_t handle_ = 0;
  loop::UniqueFd native_;
};

TEST_P(LocksTest, AreHeldInTheSource) {
  start();
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_WRLCK, 2, 5)), 0);
  EXPECT_TRUE(is_locked_natively());
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 2, F_RDLCK, 5, 5)), EAGAIN);
  EXPECT_EQ(error_of(lock(FUSE_SETLKW, 2, F_RDLCK, 6, kToEnd)), 0);
  const auto held = call(lock(FUSE_GETLK, 2, F_WRLCK)).as<fuse_lk_out>().lk;
  EXPECT_EQ(held.type, std::uint32_t{F_WRLCK});
  EXPECT_EQ(held.start, 2U);
  EXPECT_EQ(held.end, 5U);
  EXPECT_EQ(held.pid, 1001U);
  const auto other = call(lock(FUSE_GETLK, 1, F_WRLCK)).as<fuse_lk_out>().lk;
  EXPECT_EQ(other.type, std::uint32_t{F_RDLCK});
  EXPECT_EQ(other.end, kToEnd);
  EXPECT_EQ(other.pid, 1002U);
  EXPECT_EQ(call(lock(FUSE_GETLK, 1, F_RDLCK)).as<fuse_lk_out>().lk.type, std::uint32_t{F_UNLCK});
  for (const std::uint64_t owner : {1U, 2U}) {
    EXPECT_EQ(error_of(lock(FUSE_SETLK, owner, F_UNLCK)), 0);
  }
  EXPECT_FALSE(is_locked_natively());
}

TEST_P(LocksTest, NonsenseIsRefused) {
  start();
  for (const std::uint32_t opcode : {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW}) {
    EXPECT_EQ(error_of(lock(opcode, 1, 3)), EINVAL);
    EXPECT_EQ(error_of(lock(opcode, 1, F_WRLCK, 5, 4)), EINVAL);
    EXPECT_EQ(error_of(lock(opcode, 1, F_WRLCK, 0, kToEnd + 1)), EINVAL);
    EXPECT_EQ(error_of(lock(opcode, 1, F_WRLCK, kToEnd + 1, ~std::uint64_t{0})), EINVAL);
    EXPECT_EQ(error_of(Message(opcode).zeros(sizeof(fuse_lk_in))), EBADF);
    EXPECT_EQ(error_of(Message(opcode).zeros(sizeof(fuse_lk_in) - 1)), EINVAL);
  }
  EXPECT_FALSE(is_locked_natively());
}

TEST_P(LocksTest, FlushUnlocksTheOwnersRanges) {
  start();
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_WRLCK)), 0);
  EXPECT_EQ(error_of(Message(FUSE_FLUSH).with(fuse_flush_in{handle_, 0, 0, 2})), 0);
  EXPECT_TRUE(is_locked_natively());
  EXPECT_EQ(error_of(Message(FUSE_FLUSH).with(fuse_flush_in{handle_, 0, 0, 1})), 0);
  EXPECT_FALSE(is_locked_natively());
}

TEST_P(LocksTest, ReleaseUnlocksTheFile) {
  start();
  const std::uint64_t other = open("file", O_RDONLY);
  EXPECT_EQ(error_of(flock(FUSE_SETLK, handle_, F_WRLCK)), 0);
  EXPECT_EQ(error_of(flock(FUSE_SETLK, other, F_RDLCK)), EAGAIN);
  EXPECT_EQ(::flock(native_.get(), LOCK_SH | LOCK_NB), -1);
  const std::uint64_t waiting = kernel().send(flock(FUSE_SETLKW, other, F_RDLCK));
  EXPECT_TRUE(goes_on(waiting));
  fuse_release_in release{};
  release.fh = handle_;
  release.release_flags = FUSE_RELEASE_FLOCK_UNLOCK;
  EXPECT_EQ(error_of(Message(FUSE_RELEASE).with(release)), 0);
  EXPECT_EQ(kernel().wait(waiting).error(), 0);
  EXPECT_EQ(error_of(flock(FUSE_SETLK, other, F_UNLCK)), 0);
  EXPECT_EQ(::flock(native_.get(), LOCK_EX | LOCK_NB), 0);
}

TEST_P(LocksTest, WaitsHoldNobodyUp) {
  start();
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_WRLCK)), 0);
  // More than there are slots and workers.
  std::vector<std::uint64_t> waits;
  for (std::uint64_t owner = 100; owner < 300; ++owner) {
    waits.push_back(kernel().send(lock(FUSE_SETLKW, owner, F_RDLCK)));
  }
  while (tree_.locks().waiting() < waits.size()) catch_up();  // or the lock is free when they come
  for (const std::uint64_t wait : waits) EXPECT_TRUE(goes_on(wait));
  EXPECT_EQ(call(requests::read(handle_, 0, 100)).text(), "content");
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_UNLCK)), 0);
  for (const std::uint64_t wait : waits) EXPECT_EQ(kernel().wait(wait).error(), 0);
  finish();
  EXPECT_EQ(serving_->server_counters().lock_waits, waits.size());
}

TEST_P(LocksTest, AnInterruptEndsAWaitWhateverTheSignal) {
  start();
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_WRLCK)), 0);
  const auto from_us = [&](Message message) { return message.from(0, 0, ::getpid()); };
  const std::uint64_t wait = kernel().send(from_us(lock(FUSE_SETLKW, 2, F_WRLCK)));
  EXPECT_TRUE(goes_on(wait));
  kernel().send(requests::interrupt(wait));
  EXPECT_EQ(kernel().wait(wait).error(), EINTR);
  // Hard upon the request itself, which may still be on its way to the wait.
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t next = kernel().send(from_us(lock(FUSE_SETLKW, 2, F_WRLCK)));
    kernel().send(requests::interrupt(next));
    ASSERT_EQ(kernel().wait(next).error(), EINTR) << i;
  }
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 1, F_UNLCK)), 0);
  EXPECT_EQ(error_of(lock(FUSE_SETLK, 3, F_WRLCK)), 0) << "nobody waits any more";
}

OURO_IN_ALL_MODES(LocksTest);

}  // namespace
}  // namespace ouro::fs
