// Making files and opening them in one step: whose they are, what is already there, temporary ones.
#include "tests/unit/passthrough/acl_value.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeCreateTest : public TreeTest {
 protected:
  Result<CreatedFile> create(const std::string& name, int flags, const Creation& how) {
    return tree().create(executor(), kRootNode, name.c_str(), flags, how, std::nullopt);
  }
};
OURO_BOTH_EXECUTORS(TreeCreateTest);

TEST_P(TreeCreateTest, CreateMakesAndOpensWithOneLookup) {
  const auto made = create("file", O_RDWR | O_APPEND | O_CREAT, creation(S_IFREG | 0640));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->entry.stat.stx_mode, S_IFREG | 0640);
  EXPECT_EQ(made->entry.stat.stx_ino, stat_of(path("file")).st_ino);
  EXPECT_EQ(buffered_flags(made->handle) & (O_ACCMODE | O_APPEND), O_RDWR);
  EXPECT_EQ(look("file"), made->entry.node);
  tree().forget(made->entry.node, 1);
  EXPECT_TRUE(knows(made->entry.node));
  tree().forget(made->entry.node, 1);
  EXPECT_FALSE(knows(made->entry.node));
}

TEST_P(TreeCreateTest, CreateWithODirectOpensBothDescriptors) {
  const auto made = create("file", O_WRONLY | O_DIRECT, creation(0200));
  ASSERT_TRUE(made);
  const auto file = tree().file(made->handle).value();
  EXPECT_EQ(::fcntl(file->buffered_fd(), F_GETFL) & O_DIRECT, 0);
  const std::size_t before = open_descriptors();
  EXPECT_EQ(::fcntl(file->direct_fd().value(), F_GETFL) & (O_DIRECT | O_ACCMODE),
            O_DIRECT | O_WRONLY);
  EXPECT_EQ(open_descriptors(), before) << "it was there already";
}

TEST_P(TreeCreateTest, WriteBackReadsWhatIsMadeForWriting) {
  use_options({.write_back = WriteBack::kOn});
  const auto made = create("file", O_WRONLY, creation(0200));
  ASSERT_TRUE(made);
  EXPECT_EQ(buffered_flags(made->handle) & O_ACCMODE, O_RDWR);
}

TEST_P(TreeCreateTest, CreatedFilesBelongToTheCaller) {
  OURO_NEEDS_ROOT();
  ASSERT_EQ(::chown(dir_.path().c_str(), 0, 1234), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 02700), 0);
  Creation how = creation(02775, 1001, 1002, 022);
  ASSERT_TRUE(create("other", O_RDWR, how));
  EXPECT_EQ(stat_of(path("other")).st_uid, 1001U);
  EXPECT_EQ(stat_of(path("other")).st_gid, 1234U);
  EXPECT_EQ(mode_of(path("other")), 0755U);
  how.caller.extra_group = 1234;
  ASSERT_TRUE(create("member", O_RDWR, how));
  EXPECT_EQ(mode_of(path("member")), 02755U);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0700), 0);
  ASSERT_TRUE(create("plain", O_RDWR, creation(06755, 1001, 1002)));
  EXPECT_EQ(stat_of(path("plain")).st_gid, 1002U);
  EXPECT_EQ(mode_of(path("plain")), 06755U);
  EXPECT_EQ(fs_uid(), 0U);
}

TEST_P(TreeCreateTest, TheUmaskCountsUnlessADefaultAclDoes) {
  ASSERT_TRUE(create("plain", O_RDWR, creation(0777, 0, 0, 027)));
  EXPECT_EQ(mode_of(path("plain")), 0750U);
  set_acl(dir_.path(), "system.posix_acl_default",
          acl_value({{ACL_USER_OBJ, 7}, {ACL_GROUP_OBJ, 7}, {ACL_OTHER, 1}}));
  ASSERT_TRUE(create("acl", O_RDWR, creation(0777, 0, 0, 027)));
  EXPECT_EQ(mode_of(path("acl")), 0771U);
  const auto made = tree().tmpfile(executor(), kRootNode, O_RDWR, creation(0777, 0, 0, 027));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->entry.stat.stx_mode & 0777U, 0771U);
}

TEST_P(TreeCreateTest, CreateOfWhatIsThereAlready) {
  write_file(path("file"), "12345");
  const NodeId node = look("file");
  EXPECT_EQ(error_of(create("file", O_RDWR | O_EXCL, creation(0600))), EEXIST);
  const auto made = create("file", O_RDWR, creation(0600));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->entry.node, node);
  EXPECT_EQ(mode_of(path("file")), 0644U);
  EXPECT_EQ(content_of(path("file")), "12345");
  ASSERT_TRUE(create("file", O_RDWR | O_TRUNC, creation(0600)));
  EXPECT_EQ(content_of(path("file")), "");
  tree().forget(node, 2);
  EXPECT_TRUE(knows(node));
  tree().forget(node, 1);
  EXPECT_FALSE(knows(node));
}

TEST_P(TreeCreateTest, CreateOpensOnlyWhatTheCallerMayOpen) {
  OURO_NEEDS_ROOT();
  // The kernel's client takes what CREATE opens for new, and asks for no permission.
  write_file(path("secret"), "12345", 0600);
  write_file(path("readable"), "12345", 0644);
  const Creation stranger = creation(0600, 1001, 1001);
  EXPECT_EQ(error_of(create("secret", O_RDONLY, stranger)), ESTALE);
  EXPECT_EQ(error_of(create("readable", O_RDWR, stranger)), ESTALE);
  EXPECT_EQ(error_of(create("readable", O_RDONLY | O_TRUNC, stranger)), ESTALE);
  EXPECT_EQ(content_of(path("readable")), "12345");
  EXPECT_EQ(tree().inode_count(), 1U);
  EXPECT_EQ(tree().open_count(), 0U);
  EXPECT_EQ(error_of(create("readable", O_RDONLY, stranger)), 0);
  ASSERT_EQ(::chown(path("secret").c_str(), 1001, 1001), 0);
  EXPECT_EQ(error_of(create("secret", O_RDWR | O_TRUNC, stranger)), 0);
}

TEST_P(TreeCreateTest, CreateNeverOpensAnythingButAFile) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0666), 0);
  std::filesystem::create_directory(path("dir"));
  std::filesystem::create_symlink("/etc/passwd", path("link"));
  const std::size_t before = open_descriptors();
  for (const char* name : {"fifo", "dir", "link"}) {
    // ESTALE: the client looks again, and knows by itself what to do with such a thing.
    EXPECT_EQ(error_of(create(name, O_RDWR, creation(0600))), ESTALE) << name;
    EXPECT_EQ(error_of(create(name, O_RDWR | O_EXCL, creation(0600))), EEXIST) << name;
  }
  EXPECT_EQ(tree().inode_count(), 1U);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(TreeCreateTest, CreateErrors) {
  write_file(path("file"), "");
  EXPECT_EQ(
      error_of(tree().create(executor(), look("file"), "x", O_RDWR, creation(0600), std::nullopt)),
      ENOTDIR);
  EXPECT_EQ(error_of(tree().create(executor(), 99, "x", O_RDWR, creation(0600), std::nullopt)),
            ESTALE);
  std::filesystem::create_directory(path("gone"));
  const NodeId gone = look("gone");
  std::filesystem::remove(path("gone"));
  EXPECT_EQ(error_of(tree().create(executor(), gone, "x", O_RDWR, creation(0600), std::nullopt)),
            ENOENT);
}

// --- tmpfile ---

TEST_P(TreeCreateTest, TmpfileHasNoNameUntilItIsLinked) {
  const auto made = tree().tmpfile(executor(), kRootNode, O_RDWR, creation(0640));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->entry.stat.stx_nlink, 0U);
  EXPECT_EQ(made->entry.stat.stx_mode, S_IFREG | 0640);
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  EXPECT_EQ(::pwrite(buffered_fd(made->handle), "abc", 3, 0), 3);
  const auto linked = tree().link(executor(), made->entry.node, kRootNode, "named");
  ASSERT_TRUE(linked);
  EXPECT_EQ(linked->node, made->entry.node);
  EXPECT_EQ(linked->stat.stx_nlink, 1U);
  EXPECT_EQ(content_of(path("named")), "abc");
}

TEST_P(TreeCreateTest, AnExclusiveTmpfileIsNeverLinked) {
  const auto made = tree().tmpfile(executor(), kRootNode, O_WRONLY | O_EXCL, creation(0600));
  ASSERT_TRUE(made);
  EXPECT_EQ(error_of(tree().link(executor(), made->entry.node, kRootNode, "named")), ENOENT);
}

TEST_P(TreeCreateTest, TmpfileBelongsToTheCaller) {
  OURO_NEEDS_ROOT();
  const auto made = tree().tmpfile(executor(), kRootNode, O_RDWR, creation(0777, 1001, 1002, 077));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->entry.stat.stx_uid, 1001U);
  EXPECT_EQ(made->entry.stat.stx_gid, 1002U);
  EXPECT_EQ(made->entry.stat.stx_mode & 0777U, 0700U);
}

TEST_P(TreeCreateTest, TmpfileErrors) {
  write_file(path("file"), "");
  const auto tmpfile = [&](NodeId parent, int flags) {
    return error_of(tree().tmpfile(executor(), parent, flags, creation(0600)));
  };
  EXPECT_EQ(tmpfile(look("file"), O_RDWR), ENOTDIR);
  EXPECT_EQ(tmpfile(kRootNode, O_RDONLY), EINVAL);
  EXPECT_EQ(tmpfile(99, O_RDWR), ESTALE);
}

}  // namespace
}  // namespace ouro::passthrough
