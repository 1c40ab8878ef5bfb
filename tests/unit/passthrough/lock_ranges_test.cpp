#include "passthrough/lock_ranges.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

using Locks = std::vector<RangeLock>;

Locks after(const Locks& set) {
  LockRanges ranges;
  for (const RangeLock& lock : set) ranges.set(lock);
  return {ranges.all().begin(), ranges.all().end()};
}

constexpr auto kRead = LockType::kRead;
constexpr auto kWrite = LockType::kWrite;
constexpr auto kNone = LockType::kNone;

TEST(LockRanges, SplitAndMerge) {
  EXPECT_EQ(after({}), Locks());
  EXPECT_EQ(after({{kWrite, 10, 19}, {kNone, 13, 15}}),
            (Locks{{kWrite, 10, 12}, {kWrite, 16, 19}}));
  EXPECT_EQ(after({{kWrite, 10, 19}, {kRead, 13, 15}}),
            (Locks{{kWrite, 10, 12}, {kRead, 13, 15}, {kWrite, 16, 19}}));
  EXPECT_EQ(after({{kRead, 0, 4}, {kRead, 10, 14}, {kRead, 5, 9}}), (Locks{{kRead, 0, 14}}));
  EXPECT_EQ(after({{kRead, 0, kLastByte}, {kNone, 5, kLastByte}}), (Locks{{kRead, 0, 4}}));
  EXPECT_EQ(after({{kRead, 0, 4}, {kWrite, 2, 9}, {kNone, 0, kLastByte}}), Locks());
}

TEST(LockRanges, OnlyTwoReadersGetOnTogether) {
  LockRanges ranges;
  ranges.set({kRead, 10, 19});
  ranges.set({kWrite, 20, 29});
  EXPECT_EQ(ranges.conflict({kRead, 0, 19}), nullptr);
  EXPECT_EQ(ranges.conflict({kWrite, 0, 9}), nullptr);
  EXPECT_EQ(*ranges.conflict({kWrite, 0, 10}), (RangeLock{kRead, 10, 19}));
  EXPECT_EQ(*ranges.conflict({kRead, 0, 20}), (RangeLock{kWrite, 20, 29}));
  EXPECT_EQ(ranges.conflict({kWrite, 30, kLastByte}), nullptr);
}

short type_of(LockType type) {
  return type == kRead ? F_RDLCK : type == kWrite ? F_WRLCK : F_UNLCK;
}

// What somebody else sees of the locks below 100.
Locks seen_by_kernel(int other_fd) {
  Locks locks;
  for (off_t at = 0; at < 100;) {
    struct ::flock wanted {};
    wanted.l_type = F_WRLCK;
    wanted.l_start = at;
    wanted.l_len = 100 - at;
    EXPECT_EQ(::fcntl(other_fd, F_OFD_GETLK, &wanted), 0);
    if (wanted.l_type == F_UNLCK) break;
    at = wanted.l_start + wanted.l_len;
    locks.push_back({wanted.l_type == F_RDLCK ? kRead : kWrite,
                     static_cast<std::uint64_t>(wanted.l_start),
                     static_cast<std::uint64_t>(at - 1)});
  }
  return locks;
}

TEST(LockRanges, AreWhatTheKernelMakesOfTheSameCalls) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  const loop::UniqueFd one(::open((dir / "file").c_str(), O_RDWR | O_CLOEXEC));
  const loop::UniqueFd other(::open((dir / "file").c_str(), O_RDWR | O_CLOEXEC));
  std::mt19937 random(1);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  LockRanges ranges;
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t first = below(100);
    const RangeLock lock{static_cast<LockType>(below(3)), first, first + below(100 - first)};
    ranges.set(lock);
    struct ::flock same {};
    same.l_type = type_of(lock.type);
    same.l_start = static_cast<off_t>(lock.first);
    same.l_len = static_cast<off_t>(lock.last - lock.first + 1);
    ASSERT_EQ(::fcntl(one.get(), F_OFD_SETLK, &same), 0);
    ASSERT_EQ(Locks(ranges.all().begin(), ranges.all().end()), seen_by_kernel(other.get())) << i;
  }
}

}  // namespace
}  // namespace ouro::passthrough
