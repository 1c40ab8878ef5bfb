// Tests of how a Tree holds the files of its source where descriptors run short.
#include <linux/capability.h>
#include <sys/syscall.h>

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeInodesTest : public TreeTest {
 protected:
  // Only the root has a descriptor.
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "file handles take root";
    limit_to(1);
  }
  void limit_to(std::size_t descriptors) {
    Tree::Options options;
    options.max_descriptors = descriptors;
    use_options(options);
    ASSERT_TRUE(tree().handles()) << tree().handles().error().value();
  }
  [[nodiscard]] std::uint64_t inode_of(NodeId node) {
    const auto stat = tree().attributes(executor(), node, 0, STATX_BASIC_STATS);
    return stat ? stat->stx_ino : 0;
  }
};

TEST_P(TreeInodesTest, FindsFilesByTheirHandles) {
  write_file(path("f"), "text");
  std::filesystem::create_directory(path("d"));
  write_file(path("d/g"), "");
  std::filesystem::create_symlink("nowhere", path("l"));
  const NodeId file = look("f");
  EXPECT_EQ(look("f"), file) << "one file, one node";
  const NodeId inner = look("g", look("d"));
  EXPECT_EQ(inode_of(file), stat_of(path("f")).st_ino);
  EXPECT_EQ(inode_of(inner), stat_of(path("d/g")).st_ino);
  std::string target(100, ' ');
  EXPECT_EQ(tree().readlink(executor(), look("l"), bytes_of(target)).value(), 7U);
  EXPECT_EQ(tree().held_by_handle(), 4U);
  EXPECT_GT(tree().handle_opens(), 0U);
}

TEST_P(TreeInodesTest, KeepsAsManyDescriptorsAsItMay) {
  limit_to(3);
  for (const char* name : {"a", "b", "c", "d"}) write_file(path(name), "");
  std::vector<NodeId> nodes;
  for (const char* name : {"a", "b", "c", "d"}) nodes.push_back(look(name));
  EXPECT_EQ(tree().held_by_handle(), 2U);
  (void)tree().forget(nodes[0], 1);
  EXPECT_EQ(tree().held_by_handle(), 2U) << "what has a descriptor gave it up";
  (void)look("a");
  EXPECT_EQ(tree().held_by_handle(), 2U) << "and there is room for it again";
  (void)tree().forget(nodes[3], 1);
  EXPECT_EQ(tree().held_by_handle(), 1U);
}

// Of a directory that need not be a whole file system: what is asked for is all inside.
class DurableTreeTest : public TreeTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "file handles take root";
    Tree::Options options;
    options.max_descriptors = 100;
    options.is_whole = true;
    use_options(options);
    if (!tree().has_durable_ids()) GTEST_SKIP() << "no such handles in " << path("");
  }
  [[nodiscard]] NodeId found_again(NodeId node) {
    const auto entry = tree().find_again(executor(), node);
    EXPECT_EQ(error_of(entry), 0);
    return entry ? entry->node : 0;
  }
};

TEST_P(DurableTreeTest, FindsAgainWhatWasForgotten) {
  std::filesystem::create_directory(path("d"));
  write_file(path("d/f"), "text");
  const NodeId directory = look("d");
  const NodeId file = look("f", directory);
  EXPECT_EQ(found_again(file), file) << "known";
  for (const NodeId node : {file, directory}) (void)tree().forget(node, 2);
  EXPECT_EQ(error_of(tree().attributes(executor(), file, 0, STATX_BASIC_STATS)), ESTALE);
  std::filesystem::rename(path("d/f"), path("g"));
  EXPECT_EQ(found_again(file), file);
  EXPECT_EQ(tree().attributes(executor(), file, 0, STATX_BASIC_STATS)->stx_ino,
            stat_of(path("g")).st_ino);
  EXPECT_EQ(found_again(directory), directory);
  EXPECT_EQ(look("g"), file) << "one file, one node";
  EXPECT_EQ(found_again(kRootNode), kRootNode);
}

TEST_P(DurableTreeTest, FindsTheParentOfADirectory) {
  std::filesystem::create_directories(path("d/e"));
  const NodeId directory = look("d");
  const NodeId inner = look("e", directory);
  EXPECT_EQ(tree().lookup_parent(executor(), inner)->node, directory);
  EXPECT_EQ(tree().lookup_parent(executor(), directory)->node, kRootNode);
  EXPECT_EQ(tree().lookup_parent(executor(), kRootNode)->node, kRootNode) << "nothing is above it";
  write_file(path("f"), "");
  EXPECT_EQ(error_of(tree().lookup_parent(executor(), look("f"))), ENOTDIR);
}

TEST_P(DurableTreeTest, WhatIsNoMoreIsStale) {
  write_file(path("f"), "text");
  const NodeId file = look("f");
  ASSERT_TRUE(tree().unlink(executor(), kRootNode, "f"));
  EXPECT_EQ(found_again(file), file) << "still known";
  (void)tree().forget(file, 2);
  EXPECT_EQ(error_of(tree().find_again(executor(), file)), ESTALE);
  EXPECT_EQ(error_of(tree().find_again(executor(), file + (NodeId{1} << 32))), ESTALE);
  EXPECT_EQ(error_of(tree().find_again(executor(), 4711)), ESTALE) << "an id of the table";
}

OURO_BOTH_EXECUTORS(DurableTreeTest);

TEST_P(TreeInodesTest, FindsNothingAgainWhereIdsAreNotDurable) {
  write_file(path("f"), "text");
  const NodeId file = look("f");
  EXPECT_FALSE(tree().has_durable_ids());
  EXPECT_EQ(error_of(tree().find_again(executor(), file)), EINVAL);
  EXPECT_EQ(error_of(tree().lookup_parent(executor(), kRootNode)), EINVAL);
}

TEST_P(TreeInodesTest, AMovedFileIsFound) {
  write_file(path("f"), "text");
  const NodeId node = look("f");
  std::filesystem::create_directory(path("d"));
  std::filesystem::rename(path("f"), path("d/g"));
  EXPECT_EQ(inode_of(node), stat_of(path("d/g")).st_ino);
}

// What another one removes is gone, as it is for a client of NFS.
TEST_P(TreeInodesTest, AFileThatIsNoMoreIsStale) {
  write_file(path("f"), "text");
  const NodeId node = look("f");
  std::filesystem::remove(path("f"));
  EXPECT_EQ(error_of(tree().attributes(executor(), node, 0, STATX_BASIC_STATS)), ESTALE);
}

// The number of the removed file is used again, mostly at once (ext4), but it is another file.
TEST_P(TreeInodesTest, ANumberUsedAgainIsAnotherNode) {
  write_file(path("f"), "old");
  const NodeId old = look("f");
  const ino_t number = stat_of(path("f")).st_ino;
  std::filesystem::remove(path("f"));
  std::string name;
  for (int i = 0; i < 1000 && name.empty(); ++i) {
    const std::string next = "n" + std::to_string(i);
    write_file(path(next), "new");
    if (stat_of(path(next)).st_ino == number) name = next;
  }
  if (name.empty()) GTEST_SKIP() << "this file system does not use numbers again";
  const NodeId fresh = look(name);
  EXPECT_NE(fresh, old);
  EXPECT_EQ(error_of(tree().attributes(executor(), old, 0, STATX_BASIC_STATS)), ESTALE);
  EXPECT_EQ(inode_of(fresh), number);
  (void)tree().forget(old, 1);
  EXPECT_EQ(look(name), fresh) << "forgetting the old one leaves the new one";
}

TEST_P(TreeInodesTest, WhatLosesItsLastNameIsHeldByADescriptor) {
  write_file(path("f"), "text");
  const NodeId node = look("f");
  ASSERT_TRUE(tree().unlink(executor(), kRootNode, "f"));
  EXPECT_EQ(tree().held_by_handle(), 0U);
  const auto stat = tree().attributes(executor(), node, 0, STATX_BASIC_STATS);
  ASSERT_EQ(error_of(stat), 0);
  EXPECT_EQ(stat->stx_nlink, 0U);
}

TEST_P(TreeInodesTest, WhatHasAnotherNameIsNot) {
  write_file(path("f"), "text");
  const NodeId node = look("f");
  std::filesystem::create_hard_link(path("f"), path("g"));
  ASSERT_TRUE(tree().unlink(executor(), kRootNode, "f"));
  EXPECT_EQ(tree().held_by_handle(), 1U);
  EXPECT_TRUE(knows(node));
}

TEST_P(TreeInodesTest, ARemovedDirectoryIsHeld) {
  std::filesystem::create_directory(path("d"));
  const NodeId node = look("d");
  ASSERT_TRUE(tree().rmdir(executor(), kRootNode, "d"));
  EXPECT_TRUE(knows(node));
  EXPECT_EQ(error_of(tree().mkdir(executor(), node, "x", creation(0755))), ENOENT);
}

TEST_P(TreeInodesTest, WhatIsRenamedOverIsHeld) {
  write_file(path("f"), "new");
  write_file(path("g"), "old");
  const NodeId replaced = look("g");
  ASSERT_TRUE(tree().rename(executor(), kRootNode, "f", kRootNode, "g", 0));
  EXPECT_TRUE(knows(replaced));
  EXPECT_NE(look("g"), replaced);
}

TEST_P(TreeInodesTest, OfARefusedRemovalNothingIsHeld) {
  std::filesystem::create_directory(path("d"));
  write_file(path("d/f"), "");
  (void)look("d");
  EXPECT_EQ(error_of(tree().rmdir(executor(), kRootNode, "d")), ENOTEMPTY);
  EXPECT_EQ(tree().held_by_handle(), 1U);
}

OURO_BOTH_EXECUTORS(TreeInodesTest);

// Without the capability there are no handles, and everything has a descriptor.
TEST(TreeWithoutHandles, HoldsDescriptors) {
  const testing::TempDir dir;
  write_file(dir / "f", "text");
  std::thread plain([&] {
    if (::geteuid() == 0) {
      __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
      __user_cap_data_struct data[2] = {};
      ASSERT_EQ(::syscall(SYS_capset, &header, data), 0);  // of this thread only
    }
    Tree::Options options;
    options.max_descriptors = 1;
    const auto tree = make_tree(dir.path(), options);
    ASSERT_FALSE(tree->handles());
    EXPECT_EQ(tree->handles().error().value(), EPERM);
    InlineExecutor executor(test_identity());
    const auto entry = tree->lookup(executor, kRootNode, "f");
    ASSERT_EQ(error_of(entry), 0);
    EXPECT_EQ(tree->held_by_handle(), 0U);
  });
  plain.join();
}

}  // namespace
}  // namespace ouro::passthrough
