#include <fcntl.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

namespace stdfs = std::filesystem;

class NamesTest : public ServedTree {
 protected:
  // The inodes that the kernel knows besides the root.
  [[nodiscard]] std::size_t known() const { return tree_.inode_count() - 1; }
};

// --- lookup and forget ---------------------------------------------------------------------------

TEST_P(NamesTest, LookupGivesTheEntry) {
  backing_.put_file("file", "content");
  const Answer answer = call(requests::lookup("file"));
  const auto out = answer.as<fuse_entry_out>();
  EXPECT_NE(out.nodeid, 0U);
  EXPECT_NE(out.nodeid, requests::kRoot);
  EXPECT_TRUE(same_bytes(out, entry_of(path("file"), out.nodeid)));
  EXPECT_EQ(known(), 1U);
}

TEST_P(NamesTest, LookupBelowADirectory) {
  stdfs::create_directory(path("directory"));
  backing_.put_file("directory/file");
  const std::uint64_t directory = look_up("directory");
  const auto out = call(requests::lookup("file", directory)).as<fuse_entry_out>();
  EXPECT_TRUE(same_bytes(out, entry_of(path("directory/file"), out.nodeid)));
}

TEST_P(NamesTest, LookupFollowsNoSymlink) {
  ASSERT_EQ(::symlink("/etc/passwd", path("link").c_str()), 0);
  const auto out = call(requests::lookup("link")).as<fuse_entry_out>();
  EXPECT_TRUE(S_ISLNK(out.attr.mode));
  EXPECT_EQ(error_of(requests::lookup("passwd", out.nodeid)), ENOTDIR);
}

TEST_P(NamesTest, LookupOfWhatIsNotThere) {
  EXPECT_EQ(error_of(requests::lookup("missing")), ENOENT);
  EXPECT_EQ(known(), 0U);
}

TEST_P(NamesTest, ANegativeEntryHasItsTimeout) {
  connection_.cache.negative_timeout_ns = 2'500'000'000;
  const auto out = call(requests::lookup("missing")).as<fuse_entry_out>();
  fuse_entry_out expected{};
  expected.entry_valid = 2;
  expected.entry_valid_nsec = 500'000'000;
  EXPECT_TRUE(same_bytes(out, expected));
  EXPECT_EQ(known(), 0U);
  // Other errors stay errors.
  EXPECT_EQ(error_of(requests::lookup(std::string(256, 'x'))), ENAMETOOLONG);
}

TEST_P(NamesTest, NamesThatAreNone) {
  backing_.put_file("file");
  for (const char* name : {".", "..", "a/b", "/", "../etc"}) {
    EXPECT_EQ(error_of(requests::lookup(name)), EINVAL) << name;
  }
  EXPECT_EQ(error_of(requests::lookup("")), EINVAL);
  EXPECT_EQ(error_of(Message(FUSE_LOOKUP).name("").zeros(7)), EINVAL);
  EXPECT_EQ(error_of(Message(FUSE_LOOKUP).text("without-an-end")), EINVAL);
  EXPECT_EQ(error_of(requests::lookup(std::string(256, 'x'))), ENAMETOOLONG);
  EXPECT_EQ(error_of(requests::lookup(std::string(4095, 'x'))), ENAMETOOLONG);
  EXPECT_EQ(known(), 0U);
}

TEST_P(NamesTest, ParentsThatAreNone) {
  backing_.put_file("file");
  const std::uint64_t file = look_up("file");
  EXPECT_EQ(error_of(requests::lookup("x", file)), ENOTDIR);
  for (const std::uint64_t node :
       {std::uint64_t{0}, std::uint64_t{12345}, file + (std::uint64_t{1} << 32),
        std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_EQ(error_of(requests::lookup("x", node)), ESTALE) << node;
  }
}

TEST_P(NamesTest, HardLinksAreOneNode) {
  backing_.put_file("first");
  ASSERT_EQ(::link(path("first").c_str(), path("second").c_str()), 0);
  const std::uint64_t node = look_up("first");
  EXPECT_EQ(look_up("second"), node);
  EXPECT_EQ(known(), 1U);
  kernel().send(requests::forget(node));
  catch_up();
  EXPECT_EQ(known(), 1U);
  kernel().send(requests::forget(node));
  catch_up();
  EXPECT_EQ(known(), 0U);
}

TEST_P(NamesTest, ForgetCountsExactly) {
  backing_.put_file("file");
  std::uint64_t node = 0;
  for (int i = 0; i < 5; ++i) node = look_up("file");
  kernel().send(requests::forget(node, 4));
  EXPECT_EQ(error_of(requests::getattr(node)), 0);
  kernel().send(requests::forget(node, 1));
  EXPECT_EQ(error_of(requests::getattr(node)), ESTALE);
  const std::uint64_t again = look_up("file");
  EXPECT_NE(again, node) << "an id that was forgotten never comes back";
}

TEST_P(NamesTest, ForgetOfMoreThanThereIs) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  kernel().send(requests::forget(node, std::numeric_limits<std::uint64_t>::max()));
  kernel().send(requests::forget(node, 1));
  kernel().send(requests::forget(requests::kRoot, 1'000'000));
  kernel().send(requests::forget(0, 1));
  kernel().send(requests::forget(4711, 1));
  catch_up();
  EXPECT_EQ(known(), 0U);
  EXPECT_EQ(error_of(requests::lookup("file")), 0);
}

TEST_P(NamesTest, BatchForget) {
  std::vector<fuse_forget_one> nodes;
  for (const char* name : {"a", "b", "c"}) {
    backing_.put_file(name);
    nodes.push_back({look_up(name), 1});
  }
  const std::uint64_t kept = look_up("c");
  EXPECT_EQ(known(), 3U);
  kernel().send(requests::batch_forget(3, nodes));
  catch_up();
  EXPECT_EQ(known(), 1U);
  kernel().send(requests::batch_forget(1, std::array{fuse_forget_one{kept, 1}}));
  catch_up();
  EXPECT_EQ(known(), 0U);
}

TEST_P(NamesTest, BatchForgetOfAFalseCount) {
  backing_.put_file("a");
  backing_.put_file("b");
  const std::array nodes{fuse_forget_one{look_up("a"), 1}, fuse_forget_one{look_up("b"), 1}};
  // Fewer than are there: only those. None: none.
  kernel().send(requests::batch_forget(0, nodes));
  catch_up();
  EXPECT_EQ(known(), 2U);
  kernel().send(requests::batch_forget(1, nodes));
  catch_up();
  EXPECT_EQ(known(), 1U);
  // More than are there: what is there.
  kernel().send(requests::batch_forget(0xffffffff, nodes));
  catch_up();
  EXPECT_EQ(known(), 0U);
  // Cut off within a pair.
  (void)look_up("a");
  kernel().send(Message(FUSE_BATCH_FORGET, 0)
                    .with(fuse_batch_forget_in{0xffffffff, 0})
                    .bytes(std::as_bytes(std::span(nodes)).first(15)));
  catch_up();
  EXPECT_EQ(known(), 1U);
}

TEST_P(NamesTest, ThousandsOfLookups) {
  for (int i = 0; i < 300; ++i) backing_.put_file("file" + std::to_string(i));
  std::vector<fuse_forget_one> nodes;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 300; ++i) nodes.push_back({look_up("file" + std::to_string(i)), 1});
  }
  EXPECT_EQ(known(), 300U);
  kernel().send(requests::batch_forget(600, nodes));
  catch_up();
  EXPECT_EQ(known(), 0U);
}

// --- making entries ------------------------------------------------------------------------------

TEST_P(NamesTest, Mkdir) {
  const auto out = call(requests::mkdir("directory", 0777, 0027)).as<fuse_entry_out>();
  EXPECT_TRUE(same_bytes(out, entry_of(path("directory"), out.nodeid)));
  EXPECT_EQ(out.attr.mode, std::uint32_t{S_IFDIR | 0750});
  EXPECT_EQ(known(), 1U);
  EXPECT_EQ(error_of(requests::mkdir("directory", 0777)), EEXIST);
  EXPECT_EQ(error_of(requests::mkdir("..", 0777)), EINVAL);
  EXPECT_EQ(error_of(requests::mkdir("x", 0777, 0, 999)), ESTALE);
  EXPECT_EQ(known(), 1U);
}

TEST_P(NamesTest, MkdirBelongsToTheCaller) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to act as somebody else";
  stdfs::permissions(path(""), stdfs::perms::all);
  const auto out = call(requests::mkdir("directory", 0755).from(1000, 1001)).as<fuse_entry_out>();
  EXPECT_EQ(out.attr.uid, 1000U);
  EXPECT_EQ(out.attr.gid, 1001U);
  const auto next = call(requests::mkdir("of-root", 0755).from(0, 0)).as<fuse_entry_out>();
  EXPECT_EQ(next.attr.uid, 0U);
  EXPECT_EQ(next.attr.gid, 0U);
}

TEST_P(NamesTest, TheGroupOfASetgidDirectory) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to act as somebody else";
  ASSERT_EQ(::chown(path("").c_str(), 0, 4321), 0);
  ASSERT_EQ(::chmod(path("").c_str(), 02777), 0);
  const auto out = call(requests::mkdir("directory", 0755).from(1000, 1001)).as<fuse_entry_out>();
  EXPECT_EQ(out.attr.gid, 4321U);
  EXPECT_EQ(out.attr.mode, std::uint32_t{S_IFDIR | S_ISGID | 0755});
  // A member of the group may make set-gid files; the request says that the caller is one.
  const Message file = Message(FUSE_MKNOD)
                           .with(fuse_mknod_in{S_IFREG | 02770, 0, 0, 0})
                           .name("of-a-member")
                           .from(1000, 1001)
                           .extra_group(4321);
  EXPECT_EQ(call(file).as<fuse_entry_out>().attr.mode, std::uint32_t{S_IFREG | 02770});
  const Message stranger = Message(FUSE_MKNOD)
                               .with(fuse_mknod_in{S_IFREG | 02770, 0, 0, 0})
                               .name("of-a-stranger")
                               .from(1000, 1001);
  EXPECT_EQ(call(stranger).as<fuse_entry_out>().attr.mode, std::uint32_t{S_IFREG | 0770});
}

TEST_P(NamesTest, Mknod) {
  const auto make = [&](const char* name, mode_t mode, dev_t device) {
    const fuse_mknod_in in{mode, static_cast<std::uint32_t>(device), 0077, 0};
    return call(Message(FUSE_MKNOD).with(in).name(name));
  };
  const auto file = make("file", S_IFREG | 0666, 0).as<fuse_entry_out>();
  EXPECT_TRUE(same_bytes(file, entry_of(path("file"), file.nodeid)));
  EXPECT_EQ(file.attr.mode, std::uint32_t{S_IFREG | 0600});
  EXPECT_TRUE(S_ISFIFO(make("fifo", S_IFIFO | 0600, 0).as<fuse_entry_out>().attr.mode));
  EXPECT_TRUE(S_ISSOCK(make("socket", S_IFSOCK | 0600, 0).as<fuse_entry_out>().attr.mode));
  EXPECT_EQ(make("file", S_IFREG | 0666, 0).error(), EEXIST);
  EXPECT_EQ(known(), 3U);
}

TEST_P(NamesTest, MknodOfADevice) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to make devices";
  // 259:74565, whose minor does not fit in 8 bits, as the kernel writes it in 32.
  constexpr std::uint32_t kDevice = 0x45 | 259U << 8 | (0x12345U & ~0xffU) << 12;
  const fuse_mknod_in in{S_IFBLK | 0600, kDevice, 0, 0};
  const auto out = call(Message(FUSE_MKNOD).with(in).name("device")).as<fuse_entry_out>();
  EXPECT_EQ(out.attr.rdev, kDevice);
  struct ::stat stat {};
  ASSERT_EQ(::lstat(path("device").c_str(), &stat), 0);
  EXPECT_EQ(major(stat.st_rdev), 259U);
  EXPECT_EQ(minor(stat.st_rdev), 0x12345U);
}

TEST_P(NamesTest, SymlinkAndReadlink) {
  const std::string target = "../some where/else";
  const auto out = call(Message(FUSE_SYMLINK).name("link").name(target)).as<fuse_entry_out>();
  EXPECT_TRUE(same_bytes(out, entry_of(path("link"), out.nodeid)));
  EXPECT_EQ(stdfs::read_symlink(path("link")), target);
  const Answer read = call(Message(FUSE_READLINK, out.nodeid));
  EXPECT_EQ(read.error(), 0);
  EXPECT_EQ(read.text(), target) << "without a NUL";
  EXPECT_EQ(error_of(Message(FUSE_SYMLINK).name("link").name("x")), EEXIST);
  EXPECT_EQ(error_of(Message(FUSE_READLINK)), EINVAL) << "a directory";
  EXPECT_EQ(error_of(Message(FUSE_READLINK, 999)), ESTALE);
  EXPECT_EQ(error_of(Message(FUSE_SYMLINK).name("link").text("without-an-end")), EINVAL);
}

TEST_P(NamesTest, TheLongestSymlink) {
  const std::string target(4095, 't');
  const auto out = call(Message(FUSE_SYMLINK).name("link").name(target)).as<fuse_entry_out>();
  EXPECT_EQ(call(Message(FUSE_READLINK, out.nodeid)).text(), target);
  EXPECT_EQ(error_of(Message(FUSE_SYMLINK).name("longer").name(target + "t")), ENAMETOOLONG);
}

TEST_P(NamesTest, Link) {
  backing_.put_file("first", "content");
  const std::uint64_t node = look_up("first");
  const auto out = call(Message(FUSE_LINK).with(fuse_link_in{node}).name("second"));
  EXPECT_TRUE(same_bytes(out.as<fuse_entry_out>(), entry_of(path("second"), node)));
  EXPECT_EQ(out.as<fuse_entry_out>().attr.nlink, 2U);
  EXPECT_EQ(known(), 1U);
  EXPECT_EQ(error_of(Message(FUSE_LINK).with(fuse_link_in{node}).name("second")), EEXIST);
  EXPECT_EQ(error_of(Message(FUSE_LINK).with(fuse_link_in{999}).name("third")), ESTALE);
  EXPECT_EQ(error_of(Message(FUSE_LINK).with(fuse_link_in{requests::kRoot}).name("root")), EPERM);
  kernel().send(requests::forget(node, 2));
  catch_up();
  EXPECT_EQ(known(), 0U);
}

TEST_P(NamesTest, LinkOfASymlinkIsOfTheSymlinkItself) {
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  const std::uint64_t node = look_up("link");
  const auto out = call(Message(FUSE_LINK).with(fuse_link_in{node}).name("second"));
  EXPECT_EQ(out.as<fuse_entry_out>().nodeid, node);
  EXPECT_EQ(stdfs::read_symlink(path("second")), "nowhere");
}

// --- removing and moving -------------------------------------------------------------------------

TEST_P(NamesTest, UnlinkAndRmdir) {
  backing_.put_file("file", "content");
  stdfs::create_directory(path("directory"));
  const std::uint64_t file = look_up("file");
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("file")), ENOTDIR);
  EXPECT_EQ(error_of(Message(FUSE_UNLINK).name("directory")), EISDIR);
  const Answer answer = call(Message(FUSE_UNLINK).name("file"));
  EXPECT_EQ(answer.error(), 0);
  EXPECT_TRUE(answer.payload.empty());
  EXPECT_FALSE(stdfs::exists(path("file")));
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("directory")), 0);
  EXPECT_FALSE(stdfs::exists(path("directory")));
  EXPECT_EQ(error_of(Message(FUSE_UNLINK).name("file")), ENOENT);
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("directory")), ENOENT);
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("..")), EINVAL);
  // Unlinked, and there all the same for whoever knows it.
  EXPECT_EQ(call(requests::getattr(file)).as<fuse_attr_out>().attr.nlink, 0U);
}

TEST_P(NamesTest, RmdirOfAFullDirectory) {
  stdfs::create_directory(path("directory"));
  backing_.put_file("directory/file");
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("directory")), ENOTEMPTY);
}

TEST_P(NamesTest, Rename) {
  backing_.put_file("old", "content");
  stdfs::create_directory(path("directory"));
  const std::uint64_t directory = look_up("directory");
  const std::uint64_t node = look_up("old");
  const auto rename = [&](std::string_view from, std::uint64_t to_parent, std::string_view to) {
    return call(Message(FUSE_RENAME).with(fuse_rename_in{to_parent}).name(from).name(to));
  };
  const Answer answer = rename("old", directory, "new");
  EXPECT_EQ(answer.error(), 0);
  EXPECT_TRUE(answer.payload.empty());
  EXPECT_EQ(backing_.content("directory/new"), "content");
  EXPECT_EQ(look_up("new", directory), node) << "the same file, the same node";
  EXPECT_EQ(rename("old", directory, "new").error(), ENOENT);
  EXPECT_EQ(rename("directory", directory, "itself").error(), EINVAL);
  EXPECT_EQ(rename("directory", 999, "x").error(), ESTALE);
  EXPECT_EQ(rename("directory", requests::kRoot, "..").error(), EINVAL);
  EXPECT_EQ(error_of(Message(FUSE_RENAME).with(fuse_rename_in{1}).name("one").text("two")), EINVAL);
}

TEST_P(NamesTest, RenameWithFlags) {
  backing_.put_file("first", "1");
  backing_.put_file("second", "2");
  const auto rename = [&](unsigned flags, std::string_view from, std::string_view to) {
    const fuse_rename2_in in{requests::kRoot, flags, 0};
    return error_of(Message(FUSE_RENAME2).with(in).name(from).name(to));
  };
  EXPECT_EQ(rename(RENAME_NOREPLACE, "first", "second"), EEXIST);
  EXPECT_EQ(rename(RENAME_EXCHANGE, "first", "missing"), ENOENT);
  EXPECT_EQ(rename(RENAME_EXCHANGE, "first", "second"), 0);
  EXPECT_EQ(backing_.content("first"), "2");
  EXPECT_EQ(backing_.content("second"), "1");
  EXPECT_EQ(rename(RENAME_NOREPLACE, "first", "third"), 0);
  EXPECT_EQ(rename(0, "third", "second"), 0);
  EXPECT_EQ(backing_.content("second"), "2");
  EXPECT_EQ(rename(0x80, "second", "fourth"), EINVAL);
  EXPECT_EQ(rename(RENAME_NOREPLACE | RENAME_EXCHANGE, "second", "fourth"), EINVAL);
}

TEST_P(NamesTest, AWhiteoutThatFailedMayHaveMovedTimes) {
  backing_.put_file("file");
  const auto rename = [&](unsigned flags) {
    const fuse_rename2_in in{requests::kRoot, flags, 0};
    return error_of(Message(FUSE_RENAME2).with(in).name("missing").name("file"));
  };
  EXPECT_EQ(rename(RENAME_NOREPLACE), ENOENT);
  EXPECT_EQ(dropped_attributes().size(), 0U);
  EXPECT_NE(rename(RENAME_WHITEOUT), 0);
  EXPECT_EQ(dropped_attributes(), std::vector<std::uint64_t>{requests::kRoot});
}

TEST_P(NamesTest, RenameLeavesAWhiteout) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to make devices";
  backing_.put_file("old");
  const fuse_rename2_in in{requests::kRoot, RENAME_WHITEOUT, 0};
  const int error = error_of(Message(FUSE_RENAME2).with(in).name("old").name("new"));
  if (error == EINVAL) GTEST_SKIP() << "the file system of " << path("") << " has no whiteouts";
  ASSERT_EQ(error, 0);
  const auto whiteout = call(requests::lookup("old")).as<fuse_entry_out>();
  EXPECT_TRUE(S_ISCHR(whiteout.attr.mode));
  EXPECT_EQ(whiteout.attr.rdev, 0U);
}

OURO_IN_ALL_MODES(NamesTest);

}  // namespace
}  // namespace ouro::fs
