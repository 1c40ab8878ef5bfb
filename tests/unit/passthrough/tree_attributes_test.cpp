// Attributes and access rights, by every kind of file and with every errno.
#include <array>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeAttributesTest : public TreeTest {
 protected:
  int change(NodeId node, const AttributeChanges& changes,
             std::optional<FileHandleId> handle = {}) {
    const auto stat = tree().change_attributes(executor(), node, handle, changes);
    if (stat) changed_ = *stat;
    return error_of(stat);
  }
  static Caller caller(uid_t uid, gid_t gid = 1001) {
    return {.uid = uid, .gid = gid, .extra_group = {}};
  }

  struct ::statx changed_ {};
};
OURO_BOTH_EXECUTORS(TreeAttributesTest);

bool equal(const statx_timestamp& time, std::int64_t seconds, std::uint32_t nanoseconds) {
  return time.tv_sec == seconds && time.tv_nsec == nanoseconds;
}

// --- stat ---

TEST_P(TreeAttributesTest, AttributesAreThoseOfTheFile) {
  write_file(path("file"), "12345", 0640);
  const auto stat = tree().attributes(executor(), look("file"), 0, STATX_BASIC_STATS | STATX_BTIME);
  ASSERT_TRUE(stat);
  const struct ::stat native = stat_of(path("file"));
  EXPECT_EQ(stat->stx_ino, native.st_ino);
  EXPECT_EQ(stat->stx_mode, native.st_mode);
  EXPECT_EQ(stat->stx_size, 5U);
  EXPECT_EQ(stat->stx_nlink, 1U);
  EXPECT_TRUE(equal(stat->stx_mtime, native.st_mtim.tv_sec,
                    static_cast<std::uint32_t>(native.st_mtim.tv_nsec)));
  EXPECT_NE(stat->stx_mask & STATX_BTIME, 0U);
}

TEST_P(TreeAttributesTest, AttributesOfTheRootAndErrors) {
  const auto root = tree().attributes(executor(), kRootNode, 0, STATX_BASIC_STATS);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->stx_ino, stat_of(dir_.path()).st_ino);
  for (const unsigned sync : {unsigned{AT_STATX_FORCE_SYNC}, unsigned{AT_STATX_DONT_SYNC}}) {
    EXPECT_TRUE(tree().attributes(executor(), kRootNode, sync, STATX_BASIC_STATS));
  }
  EXPECT_EQ(error_of(tree().attributes(executor(), 99, 0, STATX_BASIC_STATS)), ESTALE);
}

TEST_P(TreeAttributesTest, AnUnlinkedFileStillHasAttributes) {
  write_file(path("file"), "12345");
  const NodeId node = look("file");
  std::filesystem::remove(path("file"));
  ASSERT_EQ(change(node, {.mode = 0600, .size = 3}), 0);
  EXPECT_EQ(changed_.stx_nlink, 0U);
  EXPECT_EQ(changed_.stx_size, 3U);
  EXPECT_EQ(changed_.stx_mode, S_IFREG | 0600);
}

// --- changes ---

TEST_P(TreeAttributesTest, ChangingNothingGivesFreshAttributes) {
  write_file(path("file"), "1");
  const NodeId node = look("file");
  write_file(path("file"), "12345");
  ASSERT_EQ(change(node, {}), 0);
  EXPECT_EQ(changed_.stx_size, 5U);
  EXPECT_EQ(error_of(tree().change_attributes(executor(), 99, {}, {})), ESTALE);
}

TEST_P(TreeAttributesTest, Mode) {
  write_file(path("file"), "");
  std::filesystem::create_directory(path("dir"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  for (const std::string name : {"file", "dir", "fifo"}) {
    ASSERT_EQ(change(look(name), {.mode = 01751}), 0) << name;
    EXPECT_EQ(changed_.stx_mode & 07777U, 01751U) << name;
    EXPECT_EQ(mode_of(path(name)), 01751U) << name;
  }
}

TEST_P(TreeAttributesTest, AModeWithATypeIsItsPermissions) {
  write_file(path("file"), "");
  ASSERT_EQ(change(look("file"), {.mode = S_IFREG | 0604}), 0);
  EXPECT_EQ(mode_of(path("file")), 0604U);
}

TEST_P(TreeAttributesTest, TheModeOfASymlinkIsNotItsTargets) {
  write_file(path("file"), "", 0644);
  std::filesystem::create_symlink("file", path("link"));
  EXPECT_EQ(change(look("link"), {.mode = 0777}), EOPNOTSUPP);
  EXPECT_EQ(mode_of(path("file")), 0644U);
}

TEST_P(TreeAttributesTest, Owner) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "");
  std::filesystem::create_symlink("file", path("link"));
  ASSERT_EQ(change(look("link"), {.uid = 1001, .gid = 1002}), 0);
  EXPECT_EQ(stat_of(path("link")).st_uid, 1001U);
  EXPECT_EQ(stat_of(path("file")).st_uid, 0U);
  ASSERT_EQ(change(look("file"), {.uid = 1003}), 0);
  EXPECT_EQ(changed_.stx_uid, 1003U);
  EXPECT_EQ(changed_.stx_gid, 0U);
  ASSERT_EQ(change(look("file"), {.gid = 1004}), 0);
  EXPECT_EQ(stat_of(path("file")).st_uid, 1003U);
  EXPECT_EQ(stat_of(path("file")).st_gid, 1004U);
}

TEST_P(TreeAttributesTest, ANewOwnerTakesTheSetIdBitsAway) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "", 06777);
  ASSERT_EQ(change(look("file"), {.uid = 1001}), 0);
  EXPECT_EQ(changed_.stx_mode & 07777U, 0777U);
}

TEST_P(TreeAttributesTest, SizeWithAndWithoutAHandle) {
  write_file(path("file"), "0123456789");
  const NodeId node = look("file");
  ASSERT_EQ(change(node, {.size = 4}), 0);
  EXPECT_EQ(changed_.stx_size, 4U);
  EXPECT_EQ(content_of(path("file")), "0123");
  const FileHandleId handle = open("file", O_RDWR);
  ASSERT_EQ(change(node, {.size = 6}, handle), 0);
  EXPECT_EQ(content_of(path("file")), std::string("0123\0\0", 6));
  ASSERT_EQ(change(node, {.size = 2}, FileHandleId{12345}), 0) << "a handle that is none";
  EXPECT_EQ(content_of(path("file")), "01");
}

TEST_P(TreeAttributesTest, AHandleOfAnotherFileIsNotTruncated) {
  write_file(path("file"), "0123456789");
  write_file(path("other"), "0123456789");
  ASSERT_EQ(change(look("file"), {.size = 4}, open("other", O_RDWR)), 0);
  EXPECT_EQ(content_of(path("file")), "0123");
  EXPECT_EQ(content_of(path("other")), "0123456789");
}

TEST_P(TreeAttributesTest, SizeErrors) {
  write_file(path("file"), "0123456789");
  std::filesystem::create_directory(path("dir"));
  std::filesystem::create_symlink("file", path("link"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(change(look("file"), {.size = -1}), EINVAL);
  EXPECT_EQ(change(look("dir"), {.size = 0}), EISDIR);
  EXPECT_EQ(change(look("fifo"), {.size = 0}), EINVAL);
  EXPECT_EQ(change(look("link"), {.size = 0}), EINVAL);
  EXPECT_EQ(content_of(path("file")), "0123456789");
}

TEST_P(TreeAttributesTest, ATruncationClearsSetIdBitsWhereItMust) {
  OURO_NEEDS_ROOT();
  const std::size_t before = open_descriptors();
  for (const bool by_handle : {false, true}) {
    for (const SetIdKiller& kills : {SetIdKiller(), SetIdKiller({1001, 1001, 0, {}})}) {
      write_file(path("file"), "0123456789", 0666);
      std::optional<FileHandleId> handle;
      if (by_handle) handle = open("file", O_RDWR);
      ASSERT_EQ(::chmod(path("file").c_str(), 06777), 0);
      ASSERT_EQ(change(look("file"), {.size = 1, .killer = kills}, handle), 0);
      EXPECT_EQ(mode_of(path("file")), kills ? 0777U : 06777U) << by_handle;
      if (handle) tree().release(*handle);
    }
  }
  tree().forget(look("file"), 100);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(TreeAttributesTest, Times) {
  write_file(path("file"), "");
  std::filesystem::create_symlink("file", path("link"));
  const timespec old{1'000'000'000, 123'456'789};
  const timespec older{-5, 999'999'999};
  ASSERT_EQ(change(look("file"), {.atime = old, .mtime = older}), 0);
  EXPECT_TRUE(equal(changed_.stx_atime, 1'000'000'000, 123'456'789));
  EXPECT_TRUE(equal(changed_.stx_mtime, -5, 999'999'999));
  ASSERT_EQ(change(look("file"), {.mtime = old}), 0);
  EXPECT_TRUE(equal(changed_.stx_atime, 1'000'000'000, 123'456'789)) << "omitted";
  EXPECT_TRUE(equal(changed_.stx_mtime, 1'000'000'000, 123'456'789));
  ASSERT_EQ(change(look("link"), {.atime = old, .mtime = old}), 0);
  EXPECT_EQ(stat_of(path("link")).st_mtim.tv_nsec, 123'456'789);
  const std::int64_t now = ::time(nullptr);
  ASSERT_EQ(change(look("file"), {.atime = timespec{0, UTIME_NOW}}), 0);
  EXPECT_GE(changed_.stx_atime.tv_sec, now);
  EXPECT_TRUE(equal(changed_.stx_mtime, 1'000'000'000, 123'456'789));
  EXPECT_EQ(change(look("file"), {.atime = timespec{0, 1'000'000'000}}), EINVAL);
}

TEST_P(TreeAttributesTest, EverythingAtOnce) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "0123456789");
  const timespec time{1'234'567'890, 5};
  ASSERT_EQ(
      change(look("file"),
             {.mode = 0606, .uid = 1001, .gid = 1002, .size = 3, .atime = time, .mtime = time}),
      0);
  EXPECT_EQ(changed_.stx_mode, S_IFREG | 0606);
  EXPECT_EQ(changed_.stx_uid, 1001U);
  EXPECT_EQ(changed_.stx_gid, 1002U);
  EXPECT_EQ(changed_.stx_size, 3U);
  // Times last: the truncation would have changed them.
  EXPECT_TRUE(equal(changed_.stx_mtime, 1'234'567'890, 5));
}

TEST_P(TreeAttributesTest, AChangeOfNothingMovesTheCtime) {
  // chown(path, -1, -1), as the kernel's client passes it on.
  write_file(path("file"), "", 0644);
  const NodeId node = look("file");
  const struct ::stat before = stat_of(path("file"));
  const auto moved = [&] {
    const auto& ctime = changed_.stx_ctime;
    return !equal(ctime, before.st_ctim.tv_sec, static_cast<std::uint32_t>(before.st_ctim.tv_nsec));
  };
  do {
    ASSERT_EQ(change(node, {}), 0);
  } while (!moved());  // its clock ticks every few milliseconds
  EXPECT_EQ(changed_.stx_mode & 07777U, 0644U);
  EXPECT_TRUE(equal(changed_.stx_mtime, before.st_mtim.tv_sec,
                    static_cast<std::uint32_t>(before.st_mtim.tv_nsec)));
}

TEST_P(TreeAttributesTest, ANewGroupAndTheSetgidBit) {
  OURO_NEEDS_ROOT();
  // SGID without group execution stays for members of the file's group only.
  for (const gid_t group : {gid_t{1002}, gid_t{0}, gid_t{77}}) {
    write_file(path("file"), "");
    ASSERT_EQ(::chown(path("file").c_str(), 1001, group), 0);
    ASSERT_EQ(::chmod(path("file").c_str(), 02644), 0);
    ASSERT_EQ(change(look("file"), {.gid = 1002, .killer = Caller{1001, 1002, 0, {}}}), 0);
    EXPECT_EQ(mode_of(path("file")), group == 1002 ? 02644U : 0644U) << group;
  }
}

// --- access ---

TEST_P(TreeAttributesTest, AccessAsksForTheCaller) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "", 0640);
  ASSERT_EQ(::chown(path("file").c_str(), 1001, 1002), 0);
  const NodeId node = look("file");
  const auto may = [&](int mask, const Caller& who) {
    return error_of(tree().access(executor(), node, mask, who));
  };
  EXPECT_EQ(may(R_OK | W_OK, caller(1001, 5)), 0);
  EXPECT_EQ(may(X_OK, caller(1001, 5)), EACCES);
  EXPECT_EQ(may(R_OK, caller(5, 1002)), 0);
  EXPECT_EQ(may(W_OK, caller(5, 1002)), EACCES);
  EXPECT_EQ(may(R_OK, caller(5, 5)), EACCES);
  EXPECT_EQ(may(F_OK, caller(5, 5)), 0);
  EXPECT_EQ(may(R_OK | W_OK, caller(0, 0)), 0);
  EXPECT_EQ(may(X_OK, caller(0, 0)), EACCES);
  Caller member = caller(5, 5);
  member.extra_group = 1002;
  EXPECT_EQ(may(R_OK, member), 0);
  EXPECT_EQ(error_of(tree().access(executor(), 99, R_OK, member)), ESTALE);
  EXPECT_EQ(may(64, caller(0, 0)), EINVAL);
  EXPECT_EQ(fs_uid(), 0U);
}

TEST_P(TreeAttributesTest, AccessToASymlinkIsItsOwn) {
  std::filesystem::create_symlink("nowhere", path("link"));
  EXPECT_EQ(error_of(tree().access(executor(), look("link"), R_OK, caller(::geteuid()))), 0);
}

// --- statfs ---

TEST_P(TreeAttributesTest, Statfs) {
  const auto stat = tree().statfs(executor(), kRootNode);
  ASSERT_TRUE(stat);
  struct ::statvfs native {};
  ASSERT_EQ(::statvfs(dir_.path().c_str(), &native), 0);
  EXPECT_EQ(stat->f_bsize, native.f_bsize);
  EXPECT_EQ(stat->f_blocks, native.f_blocks);
  EXPECT_EQ(stat->f_namemax, native.f_namemax);
  EXPECT_EQ(error_of(tree().statfs(executor(), 99)), ESTALE);
}

}  // namespace
}  // namespace ouro::passthrough
