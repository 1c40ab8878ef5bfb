// Operations on names: what they make and find, how lookups are counted, what names are refused.
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <array>
#include <filesystem>
#include <iterator>
#include <limits>

#include "tests/unit/passthrough/acl_value.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeNamesTest : public TreeTest {
 protected:
  // A default ACL on the test directory that gives the owner rwx, the group r-x and others r--.
  void set_default_acl() {
    set_acl(dir_.path(), "system.posix_acl_default",
            acl_value({{ACL_USER_OBJ, 7}, {ACL_GROUP_OBJ, 5}, {ACL_OTHER, 4}}));
  }
};
OURO_BOTH_EXECUTORS(TreeNamesTest);

// --- lookup and forget ---

TEST_P(TreeNamesTest, LookupFindsEveryKindOfFile) {
  write_file(path("file"), "12345");
  std::filesystem::create_directory(path("dir"));
  std::filesystem::create_symlink("nowhere", path("link"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  for (const std::string name : {"file", "dir", "link", "fifo"}) {
    const auto entry = tree().lookup(executor(), kRootNode, name.c_str());
    ASSERT_TRUE(entry) << name;
    const struct ::stat native = stat_of(path(name));
    EXPECT_EQ(entry->stat.stx_ino, native.st_ino) << name;
    EXPECT_EQ(entry->stat.stx_mode, native.st_mode) << name;
    EXPECT_EQ(entry->stat.stx_size, static_cast<std::uint64_t>(native.st_size)) << name;
    EXPECT_NE(entry->stat.stx_mask & STATX_BTIME, 0U) << name;
  }
  EXPECT_EQ(tree().inode_count(), 5U);
}

TEST_P(TreeNamesTest, WhatIsKnownIsHadWithoutBlocking) {
  struct ::statfs file_system {};
  ASSERT_EQ(::statfs(dir_.path().c_str(), &file_system), 0);
  if (file_system.f_type != EXT4_SUPER_MAGIC && file_system.f_type != TMPFS_MAGIC) {
    GTEST_SKIP() << dir_.path() << " is not on a file system that is known as local";
  }
  write_file(path("known"), "content");
  TryingExecutor trying(test_identity());
  const auto entry = tree().lookup(trying, kRootNode, "known");
  ASSERT_EQ(error_of(entry), 0);
  EXPECT_FALSE(trying.take_refusal());
  EXPECT_EQ(entry->stat.stx_size, 7U);
  EXPECT_EQ(error_of(tree().attributes(trying, entry->node, 0, STATX_BASIC_STATS)), 0);
  EXPECT_FALSE(trying.take_refusal());
  // Nobody has ever asked for that name, so it takes a look at the disk.
  EXPECT_EQ(error_of(tree().lookup(trying, kRootNode, "never-asked-for")), EAGAIN);
  EXPECT_TRUE(trying.take_refusal());
  EXPECT_EQ(tree().inode_count(), 2U);
  // Now it is known not to be there.
  EXPECT_EQ(error_of(tree().lookup(executor(), kRootNode, "never-asked-for")), ENOENT);
  EXPECT_EQ(error_of(tree().lookup(trying, kRootNode, "never-asked-for")), ENOENT);
  EXPECT_FALSE(trying.take_refusal());
}

TEST_P(TreeNamesTest, WithoutBlockingNothingIsOpenedOrChanged) {
  write_file(path("f"), "content");
  const NodeId node = look("f");
  TryingExecutor trying(test_identity());
  const auto expect_refused = [&](int error) {
    EXPECT_EQ(error, EAGAIN);
    EXPECT_TRUE(trying.take_refusal());
  };
  expect_refused(error_of(tree().mkdir(trying, kRootNode, "d", creation(0755))));
  expect_refused(error_of(tree().symlink(trying, kRootNode, "s", "f", creation(0777))));
  expect_refused(error_of(tree().link(trying, node, kRootNode, "l")));
  expect_refused(error_of(tree().unlink(trying, kRootNode, "f")));
  expect_refused(error_of(tree().rename(trying, kRootNode, "f", kRootNode, "g", 0)));
  expect_refused(error_of(tree().open(trying, node, O_RDONLY, std::nullopt)));
  expect_refused(error_of(tree().opendir(trying, kRootNode)));
  expect_refused(error_of(tree().change_attributes(trying, node, {}, {.mode = mode_t{0600}})));
  expect_refused(error_of(tree().statfs(trying, node)));
  EXPECT_EQ(tree().inode_count(), 2U);
  EXPECT_EQ(tree().open_count(), 0U);
  EXPECT_EQ(mode_of(path("f")), 0644U);
  const std::filesystem::directory_iterator names(dir_.path());
  EXPECT_EQ(std::distance(begin(names), end(names)), 1);
}

TEST_P(TreeNamesTest, LookupErrors) {
  write_file(path("file"), "");
  EXPECT_EQ(error_of(tree().lookup(executor(), kRootNode, "missing")), ENOENT);
  EXPECT_EQ(error_of(tree().lookup(executor(), look("file"), "below")), ENOTDIR);
  EXPECT_EQ(error_of(tree().lookup(executor(), 12345, "file")), ESTALE);
  EXPECT_EQ(error_of(tree().lookup(executor(), 0, "file")), ESTALE);
}

TEST_P(TreeNamesTest, HardLinksShareANode) {
  write_file(path("one"), "");
  std::filesystem::create_hard_link(path("one"), path("two"));
  EXPECT_EQ(look("one"), look("two"));
  EXPECT_EQ(tree().inode_count(), 2U);
}

TEST_P(TreeNamesTest, EveryLookupIsForgottenOnce) {
  write_file(path("file"), "");
  const NodeId node = look("file");
  EXPECT_EQ(look("file"), node);
  EXPECT_EQ(look("file"), node);
  tree().forget(node, 2);
  EXPECT_TRUE(knows(node));
  tree().forget(node, 1);
  EXPECT_FALSE(knows(node));
  EXPECT_EQ(tree().inode_count(), 1U);
  // The next lookup makes another node, and the old id stays dead.
  EXPECT_NE(look("file"), node);
  EXPECT_EQ(error_of(tree().attributes(executor(), node, 0, STATX_BASIC_STATS)), ESTALE);
}

TEST_P(TreeNamesTest, ForgettingTooMuchOrTheRootIsHarmless) {
  write_file(path("file"), "");
  const NodeId node = look("file");
  tree().forget(kRootNode, std::numeric_limits<std::uint64_t>::max());
  tree().forget(node, std::numeric_limits<std::uint64_t>::max());
  tree().forget(node, 1);
  tree().forget(0, 1);
  EXPECT_TRUE(knows(kRootNode));
  EXPECT_EQ(tree().inode_count(), 1U);
}

TEST_P(TreeNamesTest, AKnownInodeNumberIsNotReused) {
  write_file(path("file"), "old");
  const NodeId old = look("file");
  const std::uint64_t old_number = stat_of(path("file")).st_ino;
  std::filesystem::remove(path("file"));
  for (int i = 0; i < 100; ++i) {
    const std::string name = "new" + std::to_string(i);
    write_file(path(name), "new");
    EXPECT_NE(look(name), old);
    EXPECT_NE(stat_of(path(name)).st_ino, old_number);
  }
  const auto stat = tree().attributes(executor(), old, 0, STATX_BASIC_STATS);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->stx_nlink, 0U);
}

TEST_P(TreeNamesTest, ANodeFollowsItsFileThroughARename) {
  std::filesystem::create_directory(path("dir"));
  write_file(path("dir/file"), "");
  const NodeId dir = look("dir");
  const NodeId file = look("file", dir);
  std::filesystem::rename(path("dir"), path("elsewhere"));
  EXPECT_EQ(look("file", dir), file);
  EXPECT_EQ(look("elsewhere"), dir);
}

// --- names that are none ---

TEST(TreeNameChecks, NoSystemCallIsMadeForThem) {
  const testing::TempDir dir;
  const auto tree = make_tree(dir.path());
  ScriptedExecutor executor;
  const std::string long_name(256, 'n');
  const Creation how = creation(0600, 0, 0, 022);
  const std::array<std::pair<std::string, int>, 8> names{{{"", EINVAL},
                                                          {".", EINVAL},
                                                          {"..", EINVAL},
                                                          {"/", EINVAL},
                                                          {"a/b", EINVAL},
                                                          {"../etc", EINVAL},
                                                          {long_name, ENAMETOOLONG},
                                                          {std::string(5000, 'x'), ENAMETOOLONG}}};
  for (const auto& [text, error] : names) {
    SCOPED_TRACE(text.substr(0, 20));
    const char* name = text.c_str();
    EXPECT_EQ(error_of(tree->lookup(executor, kRootNode, name)), error);
    EXPECT_EQ(error_of(tree->mkdir(executor, kRootNode, name, how)), error);
    EXPECT_EQ(error_of(tree->mknod(executor, kRootNode, name, how, 0)), error);
    EXPECT_EQ(error_of(tree->symlink(executor, kRootNode, name, "t", how)), error);
    EXPECT_EQ(error_of(tree->link(executor, kRootNode, kRootNode, name)), error);
    EXPECT_EQ(error_of(tree->unlink(executor, kRootNode, name)), error);
    EXPECT_EQ(error_of(tree->rmdir(executor, kRootNode, name)), error);
    EXPECT_EQ(error_of(tree->rename(executor, kRootNode, name, kRootNode, "ok", 0)), error);
    EXPECT_EQ(error_of(tree->rename(executor, kRootNode, "ok", kRootNode, name, 0)), error);
    EXPECT_EQ(error_of(tree->create(executor, kRootNode, name, O_RDWR, how, std::nullopt)), error);
  }
  EXPECT_EQ(executor.waits(), 0U);
  EXPECT_EQ(executor.inline_calls(), 0U);
}

TEST_P(TreeNamesTest, UnusualNamesThatAreSome) {
  for (const std::string& name : {std::string(255, 'n'), std::string("..."), std::string(". "),
                                  std::string(".hidden"), std::string("a\nb\\\x01\xff")}) {
    const auto made = tree().mkdir(executor(), kRootNode, name.c_str(), creation(0755));
    ASSERT_TRUE(made) << name;
    EXPECT_EQ(look(name), made->node);
  }
}

// --- making ---

TEST_P(TreeNamesTest, MkdirCountsOneLookup) {
  const auto made = tree().mkdir(executor(), kRootNode, "dir", creation(0750));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->stat.stx_mode, S_IFDIR | 0750);
  EXPECT_EQ(made->stat.stx_ino, stat_of(path("dir")).st_ino);
  tree().forget(made->node, 1);
  EXPECT_FALSE(knows(made->node));
  EXPECT_EQ(error_of(tree().mkdir(executor(), kRootNode, "dir", creation(0750))), EEXIST);
  EXPECT_EQ(error_of(tree().mkdir(executor(), 99, "dir", creation(0750))), ESTALE);
}

TEST_P(TreeNamesTest, MknodMakesFilesFifosSocketsAndDevices) {
  const std::array<std::pair<std::string, mode_t>, 3> kinds{
      {{"file", S_IFREG}, {"fifo", S_IFIFO}, {"socket", S_IFSOCK}}};
  for (const auto& [name, type] : kinds) {
    const auto made = tree().mknod(executor(), kRootNode, name.c_str(), creation(type | 0640), 0);
    ASSERT_TRUE(made) << name;
    EXPECT_EQ(made->stat.stx_mode, type | 0640) << name;
  }
  OURO_NEEDS_ROOT();
  const auto device =
      tree().mknod(executor(), kRootNode, "null", creation(S_IFCHR | 0600), ::makedev(1, 3));
  ASSERT_TRUE(device);
  EXPECT_EQ(::makedev(device->stat.stx_rdev_major, device->stat.stx_rdev_minor), ::makedev(1, 3));
}

TEST_P(TreeNamesTest, MknodOfADeviceIsForThePrivileged) {
  OURO_NEEDS_ROOT();
  std::filesystem::permissions(dir_.path(), std::filesystem::perms::all);
  EXPECT_EQ(error_of(tree().mknod(executor(), kRootNode, "null", creation(S_IFCHR | 0600, 1001),
                                  ::makedev(1, 3))),
            EPERM);
  EXPECT_FALSE(std::filesystem::exists(path("null")));
}

TEST_P(TreeNamesTest, SymlinkAndReadlink) {
  for (const std::string& target :
       {std::string("target"), std::string("/absolute/../path"), std::string(4095, 't')}) {
    const std::string name = "link" + std::to_string(target.size());
    const auto made =
        tree().symlink(executor(), kRootNode, name.c_str(), target.c_str(), creation(0));
    ASSERT_TRUE(made) << target;
    EXPECT_TRUE(S_ISLNK(made->stat.stx_mode));
    std::string out(4096, '.');
    EXPECT_EQ(tree().readlink(executor(), made->node, bytes_of(out)).value_or(0), target.size());
    EXPECT_EQ(out.substr(0, target.size()), target);
  }
  EXPECT_EQ(error_of(tree().symlink(executor(), kRootNode, "empty", "", creation(0))), ENOENT);
}

TEST_P(TreeNamesTest, ReadlinkErrors) {
  write_file(path("file"), "");
  std::filesystem::create_symlink("123456", path("link"));
  std::string out(6, '.');
  EXPECT_EQ(error_of(tree().readlink(executor(), look("link"), bytes_of(out))), ENAMETOOLONG);
  out.push_back('.');
  EXPECT_EQ(tree().readlink(executor(), look("link"), bytes_of(out)).value_or(0), 6U);
  EXPECT_EQ(error_of(tree().readlink(executor(), look("file"), bytes_of(out))), EINVAL);
  EXPECT_EQ(error_of(tree().readlink(executor(), kRootNode, bytes_of(out))), EINVAL);
  EXPECT_EQ(error_of(tree().readlink(executor(), 77, bytes_of(out))), ESTALE);
}

TEST_P(TreeNamesTest, LinkCountsALookupOfTheSameNode) {
  write_file(path("file"), "");
  std::filesystem::create_directory(path("dir"));
  std::filesystem::create_symlink("file", path("symlink"));
  const NodeId dir = look("dir");
  for (const std::string name : {"file", "symlink"}) {
    const NodeId node = look(name);
    const auto linked = tree().link(executor(), node, dir, name.c_str());
    ASSERT_TRUE(linked) << name;
    EXPECT_EQ(linked->node, node) << name;
    EXPECT_EQ(linked->stat.stx_nlink, 2U) << name;
    tree().forget(node, 1);
    EXPECT_TRUE(knows(node)) << name;
    tree().forget(node, 1);
    EXPECT_FALSE(knows(node)) << name;
  }
  EXPECT_EQ(stat_of(path("dir/symlink")).st_ino, stat_of(path("symlink")).st_ino);
}

TEST_P(TreeNamesTest, LinkErrors) {
  write_file(path("file"), "");
  std::filesystem::create_directory(path("dir"));
  const NodeId file = look("file");
  EXPECT_EQ(error_of(tree().link(executor(), file, kRootNode, "dir")), EEXIST);
  EXPECT_EQ(error_of(tree().link(executor(), look("dir"), kRootNode, "new")), EPERM);
  EXPECT_EQ(error_of(tree().link(executor(), file, file, "new")), ENOTDIR);
  EXPECT_EQ(error_of(tree().link(executor(), 99, kRootNode, "new")), ESTALE);
  EXPECT_EQ(error_of(tree().link(executor(), file, 99, "new")), ESTALE);
  std::filesystem::remove(path("file"));
  EXPECT_EQ(error_of(tree().link(executor(), file, kRootNode, "new")), ENOENT) << "unlinked";
}

// --- whose it is, and its mode ---

TEST_P(TreeNamesTest, WhatACallerMakesBelongsToTheCaller) {
  OURO_NEEDS_ROOT();
  // The directory is closed to the caller: that was for the kernel's client to decide.
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0700), 0);
  const Creation how = creation(0644, 1001, 1002);
  ASSERT_TRUE(tree().mkdir(executor(), kRootNode, "dir", how));
  ASSERT_TRUE(tree().mknod(executor(), kRootNode, "node", how, 0));
  ASSERT_TRUE(tree().symlink(executor(), kRootNode, "link", "target", how));
  for (const char* name : {"dir", "node", "link"}) {
    EXPECT_EQ(stat_of(path(name)).st_uid, 1001U) << name;
    EXPECT_EQ(stat_of(path(name)).st_gid, 1002U) << name;
  }
  EXPECT_EQ(fs_uid(), 0U);
  EXPECT_EQ(fs_gid(), 0U);
}

TEST_P(TreeNamesTest, ASetgidDirectoryGivesItsGroup) {
  OURO_NEEDS_ROOT();
  ASSERT_EQ(::chown(dir_.path().c_str(), 0, 1234), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 02777), 0);
  ASSERT_TRUE(tree().mkdir(executor(), kRootNode, "dir", creation(0755, 1001, 1002)));
  EXPECT_EQ(stat_of(path("dir")).st_gid, 1234U);
  EXPECT_EQ(mode_of(path("dir")), 02755U) << "directories hand the bit on";
  // Who is not in that group may not make a set-gid file of it; who is, may.
  ASSERT_TRUE(
      tree().mknod(executor(), kRootNode, "other", creation(S_IFREG | 02775, 1001, 1002), 0));
  EXPECT_EQ(stat_of(path("other")).st_gid, 1234U);
  EXPECT_EQ(mode_of(path("other")), 0775U);
  Creation member = creation(S_IFREG | 02775, 1001, 1002);
  member.caller.extra_group = 1234;
  ASSERT_TRUE(tree().mknod(executor(), kRootNode, "member", member, 0));
  EXPECT_EQ(mode_of(path("member")), 02775U);
  EXPECT_EQ(thread_status("Groups").find("1234"), std::string::npos) << "given back";
}

TEST_P(TreeNamesTest, TheUmaskCountsUnlessADefaultAclDoes) {
  const Creation how = creation(0777, 0, 0, 027);
  Creation node = how;
  node.mode |= S_IFREG;
  ASSERT_TRUE(tree().mkdir(executor(), kRootNode, "dir", how));
  ASSERT_TRUE(tree().mknod(executor(), kRootNode, "node", node, 0));
  EXPECT_EQ(mode_of(path("dir")), 0750U);
  EXPECT_EQ(mode_of(path("node")), 0750U);
  set_default_acl();
  ASSERT_TRUE(tree().mkdir(executor(), kRootNode, "acl-dir", how));
  ASSERT_TRUE(tree().mknod(executor(), kRootNode, "acl-node", node, 0));
  EXPECT_EQ(mode_of(path("acl-dir")), 0754U);
  EXPECT_EQ(mode_of(path("acl-node")), 0754U);
}

TEST_P(TreeNamesTest, AnAccessAclOfTheParentIsNoDefault) {
  set_acl(dir_.path(), "system.posix_acl_access",
          acl_value({{ACL_USER_OBJ, 7},
                     {ACL_USER, 7, 1001},
                     {ACL_GROUP_OBJ, 7},
                     {ACL_MASK, 7},
                     {ACL_OTHER, 7}}));
  ASSERT_TRUE(tree().mkdir(executor(), kRootNode, "dir", creation(0777, 0, 0, 022)));
  EXPECT_EQ(mode_of(path("dir")), 0755U);
}

// --- moving and removing ---

TEST_P(TreeNamesTest, UnlinkAndRmdir) {
  write_file(path("file"), "");
  std::filesystem::create_directories(path("dir/sub"));
  const NodeId dir = look("dir");
  EXPECT_EQ(error_of(tree().unlink(executor(), kRootNode, "dir")), EISDIR);
  EXPECT_EQ(error_of(tree().rmdir(executor(), kRootNode, "file")), ENOTDIR);
  EXPECT_EQ(error_of(tree().rmdir(executor(), kRootNode, "dir")), ENOTEMPTY);
  EXPECT_EQ(error_of(tree().rmdir(executor(), dir, "sub")), 0);
  EXPECT_EQ(error_of(tree().rmdir(executor(), kRootNode, "dir")), 0);
  EXPECT_EQ(error_of(tree().unlink(executor(), kRootNode, "file")), 0);
  EXPECT_EQ(error_of(tree().unlink(executor(), kRootNode, "file")), ENOENT);
  EXPECT_EQ(error_of(tree().rmdir(executor(), kRootNode, "dir")), ENOENT);
  EXPECT_EQ(error_of(tree().unlink(executor(), dir, "file")), ENOENT) << "in a removed directory";
  EXPECT_EQ(error_of(tree().mkdir(executor(), dir, "sub", creation(0755))), ENOENT);
  EXPECT_EQ(error_of(tree().unlink(executor(), 99, "file")), ESTALE);
  EXPECT_EQ(error_of(tree().rmdir(executor(), 99, "file")), ESTALE);
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

TEST_P(TreeNamesTest, Rename) {
  write_file(path("a"), "a");
  write_file(path("b"), "b");
  std::filesystem::create_directory(path("dir"));
  const NodeId dir = look("dir");
  const auto rename = [&](const char* from, NodeId to_dir, const char* to, unsigned flags) {
    return error_of(tree().rename(executor(), kRootNode, from, to_dir, to, flags));
  };
  EXPECT_EQ(rename("a", kRootNode, "b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename("a", kRootNode, "b", RENAME_EXCHANGE), 0);
  EXPECT_EQ(content_of(path("a")), "b");
  EXPECT_EQ(rename("a", kRootNode, "b", 0), 0);
  EXPECT_EQ(content_of(path("b")), "b");
  EXPECT_EQ(rename("b", dir, "c", 0), 0);
  EXPECT_EQ(content_of(path("dir/c")), "b");
  EXPECT_EQ(rename("b", dir, "c", 0), ENOENT);
  EXPECT_EQ(rename("dir", dir, "inside", 0), EINVAL);
  EXPECT_EQ(rename("dir", kRootNode, "x", 0x80000000U), EINVAL);
  EXPECT_EQ(rename("dir", 99, "x", 0), ESTALE);
  EXPECT_EQ(error_of(tree().rename(executor(), 99, "x", kRootNode, "y", 0)), ESTALE);
}

TEST_P(TreeNamesTest, RenameLeavesAWhiteout) {
  OURO_NEEDS_ROOT();
  write_file(path("a"), "a");
  const Caller caller{.uid = 1001, .gid = 1002, .extra_group = {}};
  const Status renamed =
      tree().rename(executor(), kRootNode, "a", kRootNode, "b", RENAME_WHITEOUT, caller);
  if (error_of(renamed) == EINVAL) GTEST_SKIP() << "the file system of /tmp makes no whiteouts";
  ASSERT_TRUE(renamed);
  EXPECT_TRUE(S_ISCHR(stat_of(path("a")).st_mode));
  EXPECT_EQ(stat_of(path("a")).st_rdev, 0U);
  EXPECT_EQ(stat_of(path("a")).st_uid, 1001U);
  EXPECT_EQ(stat_of(path("a")).st_gid, 1002U);
  EXPECT_EQ(stat_of(path("b")).st_uid, 0U);
}

// --- what others do to the tree meanwhile ---

TEST_P(TreeNamesTest, ASymlinkInPlaceOfADirectoryIsNotFollowed) {
  std::filesystem::create_directories(path("in/dir"));
  std::filesystem::create_directory(path("out"));
  const NodeId in = look("in");
  std::filesystem::remove(path("in/dir"));
  std::filesystem::create_directory_symlink(path("out"), path("in/dir"));
  const NodeId dir = look("dir", in);
  EXPECT_EQ(error_of(tree().mkdir(executor(), dir, "new", creation(0755))), ENOTDIR);
  EXPECT_EQ(error_of(tree().lookup(executor(), dir, "new")), ENOTDIR);
  EXPECT_TRUE(std::filesystem::is_empty(path("out")));
}

}  // namespace
}  // namespace ouro::passthrough
