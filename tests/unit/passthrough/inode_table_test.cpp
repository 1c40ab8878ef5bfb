#include "passthrough/inode_table.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/process_state.hpp"

namespace ouro::passthrough {
namespace {

constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

Inode make_inode(std::uint64_t number, loop::UniqueFd fd = {}) {
  return {.key = {1, number, 1}, .type = S_IFREG, .path_fd = std::move(fd)};
}

loop::UniqueFd some_fd() {
  return loop::UniqueFd(::eventfd(0, EFD_CLOEXEC));
}
bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

int error_of(const loop::Result<InodeRef>& result) {
  return result ? 0 : result.error().value();
}

TEST(InodeTable, TellsOnceOfItsWatermark) {
  int told = 0;
  InodeTable table(make_inode(1), {3, [&] { ++told; }});
  EXPECT_EQ(table.intern(make_inode(1)), kRootNode);
  const NodeId second = table.intern(make_inode(2));
  EXPECT_EQ(table.intern(make_inode(2)), second);
  EXPECT_EQ(told, 0);
  const NodeId third = table.intern(make_inode(3));
  EXPECT_EQ(told, 1);
  table.forget(third, 1);
  static_cast<void>(table.intern(make_inode(3)));
  static_cast<void>(table.intern(make_inode(4)));
  EXPECT_EQ(told, 1);
}

TEST(InodeTable, KeepsIoModesOfRegularFilesWhereAsked) {
  InodeTable without(make_inode(1));
  EXPECT_EQ(without.find(without.intern(make_inode(2))).value()->io_mode, nullptr);

  InodeTable table(make_inode(1), {}, kNoLimit, kNoLimit, IoModes::kKept);
  const NodeId file = table.intern(make_inode(2));
  const auto mode = table.find(file).value()->io_mode;
  ASSERT_NE(mode, nullptr);
  static_cast<void>(table.intern(make_inode(2)));
  EXPECT_EQ(table.find(file).value()->io_mode, mode) << "one for all who look it up";
  Inode directory = make_inode(3);
  directory.type = S_IFDIR;
  EXPECT_EQ(table.find(table.intern(std::move(directory))).value()->io_mode, nullptr);
}

// Ids as DurableIds makes them, with handles as a file system would.
Inode make_durable(std::uint64_t number, std::uint32_t generation) {
  Inode inode = make_inode(number);
  inode.handle = SourceHandle(1, {std::byte{static_cast<unsigned char>(generation)}});
  inode.durable_id = NodeId{generation} << 32 | NodeId{1} << 31 | number;
  return inode;
}

TEST(InodeTable, NamesDurablyWhatIsToBe) {
  InodeTable table(make_inode(1));
  table.name_durably();
  Inode without = make_inode(2);
  EXPECT_FALSE(table.try_intern(without)) << "a handle first";
  const NodeId durable = make_durable(2, 7).durable_id;
  EXPECT_EQ(table.intern(make_durable(2, 7)), durable);
  EXPECT_EQ(table.try_intern(without), durable) << "known by now";
  EXPECT_FALSE(table.find(durable).value()->held_by_handle()) << "there are descriptors enough";
  EXPECT_EQ(table.lookups(durable), 2U);
  EXPECT_EQ(error_of(table.find(make_durable(2, 8).durable_id)), ESTALE) << "another generation";

  Inode elsewhere = make_inode(2);
  elsewhere.key.mount = 2;
  const auto plain = table.try_intern(elsewhere);
  ASSERT_TRUE(plain) << "files of other mounts are not";
  EXPECT_NE(*plain, durable);

  EXPECT_EQ(table.forget(durable, 1), nullptr);
  EXPECT_NE(table.forget(durable, 1), nullptr);
  EXPECT_EQ(error_of(table.find(durable)), ESTALE);
  EXPECT_EQ(table.intern(make_durable(2, 7)), durable) << "the same again";
  EXPECT_EQ(table.intern(make_inode(1)), kRootNode);
}

TEST(InodeTable, ForgetsADurableIdWhoseNumberIsUsedAgain) {
  InodeTable table(make_inode(1), {}, 0);
  table.name_durably();
  const NodeId old = table.intern(make_durable(2, 7));
  const NodeId fresh = table.intern(make_durable(2, 8));
  EXPECT_NE(fresh, old);
  EXPECT_EQ(error_of(table.find(old)), 0) << "whoever opens it is told";
  EXPECT_EQ(table.size(), 3U);
  EXPECT_NE(table.forget(old, 1), nullptr);
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(error_of(table.find(old)), ESTALE);
  EXPECT_EQ(error_of(table.find(fresh)), 0);
  EXPECT_NE(table.forget(fresh, 1), nullptr);
  EXPECT_EQ(table.size(), 1U);
}

// Fills a table that may hold 100 descriptors until it is full: half as many again.
std::vector<NodeId> fill_up(InodeTable& table) {
  std::vector<NodeId> nodes;
  for (std::uint64_t number = 2; !table.is_full(); ++number) {
    nodes.push_back(table.intern(make_inode(number)));
  }
  return nodes;
}

TEST(InodeTable, IsFullWithHalfAsManyDescriptorsAgainUntilSomeAreForgotten) {
  InodeTable table(make_inode(1), {}, 100);
  const std::vector<NodeId> nodes = fill_up(table);
  EXPECT_NEAR(static_cast<double>(table.size()), 152, 2);
  table.wait_for_room(std::chrono::hours(0));
  EXPECT_FALSE(table.is_full()) << "nobody makes room: waiting does not help";
  EXPECT_TRUE(table.is_crowded());
  for (const NodeId node : nodes) table.forget(node, 1);
  EXPECT_FALSE(table.is_crowded());
  EXPECT_FALSE(fill_up(table).empty()) << "from now on it helps again";
}

TEST(InodeTable, WaitsUntilThereIsRoom) {
  InodeTable table(make_inode(1), {}, 100);
  const std::vector<NodeId> nodes = fill_up(table);
  std::thread forgetting([&] {
    for (const NodeId node : nodes) table.forget(node, 1);
  });
  table.wait_for_room(std::chrono::seconds(60));
  EXPECT_FALSE(table.is_full());
  forgetting.join();
}

// Inodes that hold no descriptor with a number of their own to speak of.
constexpr std::size_t kScarceFrom = 500;
Inode numbered(std::uint64_t number, int fd) {
  loop::UniqueFd at(::fcntl(some_fd().get(), F_DUPFD_CLOEXEC, fd));
  EXPECT_GE(at.get(), fd);
  return make_inode(number, std::move(at));
}

TEST(InodeTable, GivesWayWhereOthersHaveTakenTheDescriptors) {
  InodeTable table(make_inode(1), {}, 100, kScarceFrom);
  for (std::uint64_t number = 2; number <= 16; ++number) {
    static_cast<void>(table.intern(make_inode(number, some_fd())));
  }
  EXPECT_FALSE(table.is_crowded());
  std::uint64_t number = 17;
  static_cast<void>(table.intern(numbered(number++, kScarceFrom)));
  EXPECT_TRUE(table.is_crowded());
  EXPECT_TRUE(table.take_crowding());
  while (!table.is_full()) static_cast<void>(table.intern(numbered(number++, kScarceFrom)));
  EXPECT_EQ(table.size(), 16U + 32U);
  EXPECT_TRUE(table.take_crowding()) << "there were many more";
  // A low number tells that there is room again.
  static_cast<void>(table.intern(make_inode(number++, some_fd())));
  EXPECT_FALSE(table.is_crowded());
  EXPECT_FALSE(table.is_full());
}

TEST(InodeTable, WhatIsOpenIsNotAmongTheOldest) {
  InodeTable table(make_inode(1), {}, 100);
  const NodeId open = table.intern(make_inode(2));
  const NodeId idle = table.intern(make_inode(3));
  const InodeRef reference = *table.find(open);
  EXPECT_EQ(table.oldest_with_descriptor(10), std::vector<NodeId>{idle});
}

TEST(InodeTable, RootHasItsFixedIdAndCannotBeForgotten) {
  InodeTable table(make_inode(1));
  ASSERT_TRUE(table.find(kRootNode));
  EXPECT_EQ(table.find(kRootNode).value()->key.inode, 1U);
  table.forget(kRootNode, kAll);
  EXPECT_TRUE(table.find(kRootNode));
  // Found by its identity as well, and never below zero.
  EXPECT_EQ(table.intern(make_inode(1)), kRootNode);
  EXPECT_EQ(table.lookups(kRootNode), 1U);
  table.forget(kRootNode, 5);
  EXPECT_EQ(table.lookups(kRootNode), 0U);
  EXPECT_TRUE(table.find(kRootNode));
  EXPECT_EQ(table.size(), 1U);
}

TEST(InodeTable, LookupsAreCountedExactly) {
  InodeTable table(make_inode(1));
  const NodeId node = table.intern(make_inode(2));
  EXPECT_EQ(table.intern(make_inode(2)), node);
  EXPECT_EQ(table.intern(make_inode(2)), node);
  EXPECT_EQ(table.lookups(node), 3U);
  table.forget(node, 2);
  EXPECT_EQ(table.lookups(node), 1U);
  ASSERT_TRUE(table.find(node));
  table.forget(node, 1);
  EXPECT_EQ(error_of(table.find(node)), ESTALE);
  EXPECT_EQ(table.size(), 1U);
}

TEST(InodeTable, ForgetTakesNoMoreThanThereIs) {
  InodeTable table(make_inode(1));
  const NodeId node = table.intern(make_inode(2));
  table.forget(node, kAll);
  EXPECT_EQ(error_of(table.find(node)), ESTALE);
  // What never was, or no longer is, is ignored.
  for (const NodeId wrong : {node, NodeId{0}, NodeId{3}, kRootNode | NodeId{1} << 32, kAll}) {
    table.forget(wrong, 1);
    EXPECT_EQ(error_of(table.find(wrong)), ESTALE) << wrong;
    EXPECT_EQ(table.lookups(wrong), 0U);
  }
  EXPECT_EQ(table.size(), 1U);
}

TEST(InodeTable, ForgetOfNothingChangesNothing) {
  InodeTable table(make_inode(1));
  const NodeId node = table.intern(make_inode(2));
  table.forget(node, 0);
  EXPECT_EQ(table.lookups(node), 1U);
}

TEST(InodeTable, AForgottenIdIsNeverValidAgain) {
  InodeTable table(make_inode(1));
  std::vector<NodeId> old;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const NodeId node = table.intern(make_inode(2 + i % 3));
    for (const NodeId stale : old) ASSERT_NE(stale, node);
    old.push_back(node);
    table.forget(node, 1);
  }
  for (const NodeId stale : old) EXPECT_EQ(error_of(table.find(stale)), ESTALE);
  // The same place was used all the time: index in the lower half, generation in the upper one.
  EXPECT_EQ(old.back() & 0xffffffffU, old.front() & 0xffffffffU);
  EXPECT_EQ(old.back() >> 32, 99U);
}

TEST(InodeTable, TheMountBelongsToTheIdentity) {
  InodeTable table(make_inode(1));
  const NodeId here = table.intern({.key = {1, 2, 1}, .path_fd = {}});
  EXPECT_NE(table.intern({.key = {1, 2, 2}, .path_fd = {}}), here);
  EXPECT_NE(table.intern({.key = {2, 2, 1}, .path_fd = {}}), here);
  EXPECT_EQ(table.intern({.key = {1, 2, 1}, .path_fd = {}}), here);
}

TEST(InodeTable, TheFirstDescriptorStaysAndSurplusOnesAreClosed) {
  InodeTable table(make_inode(1));
  loop::UniqueFd first = some_fd();
  loop::UniqueFd second = some_fd();
  const int first_number = first.get();
  const int second_number = second.get();
  const NodeId node = table.intern(make_inode(2, std::move(first)));
  EXPECT_EQ(table.intern(make_inode(2, std::move(second))), node);
  EXPECT_EQ(table.find(node).value()->path_fd.get(), first_number);
  EXPECT_FALSE(is_open(second_number));
  table.forget(node, 2);
  EXPECT_FALSE(is_open(first_number));
}

TEST(InodeTable, AReferenceKeepsAForgottenInodeOpen) {
  InodeTable table(make_inode(1));
  const NodeId node = table.intern(make_inode(2, some_fd()));
  auto pinned = table.find(node).value();
  const int fd = pinned->path_fd.get();
  table.forget(node, 1);
  EXPECT_TRUE(is_open(fd));
  pinned.reset();
  EXPECT_FALSE(is_open(fd));
}

TEST(InodeTable, ALookupAfterTheLastForgetMakesANewNode) {
  InodeTable table(make_inode(1));
  const NodeId before = table.intern(make_inode(2));
  const auto pinned = table.find(before).value();
  table.forget(before, 1);
  const NodeId after = table.intern(make_inode(2));
  EXPECT_NE(after, before);
  EXPECT_NE(table.find(after).value(), pinned);
  EXPECT_EQ(error_of(table.find(before)), ESTALE);
}

// Lookups and forgets of the same few files from many threads: the counts stay exact.
TEST(InodeTable, FourThreadsAgree) {
  InodeTable table(make_inode(1));
  constexpr int kRounds = 20'000;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&table, &wrong, t] {
      std::minstd_rand random(t + 1);
      std::vector<NodeId> held;
      for (int i = 0; i < kRounds; ++i) {
        if (held.size() < 8 && random() % 2 == 0) {
          held.push_back(table.intern(make_inode(2 + random() % 5)));
        } else if (!held.empty()) {
          // What this thread holds a lookup of must be there.
          if (!table.find(held.back())) ++wrong;
          table.forget(held.back(), 1);
          held.pop_back();
        }
      }
      for (const NodeId node : held) table.forget(node, 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(table.size(), 1U);
}

}  // namespace
}  // namespace ouro::passthrough
