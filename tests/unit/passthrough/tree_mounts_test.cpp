// Mounts within the source: followed, not crossed, or all but the one that is our own.
#include <linux/fs.h>
#include <sys/mount.h>

#include "tests/unit/passthrough/directory_records.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

struct ::statx statx_of(const std::filesystem::path& path) {
  struct ::statx stat {};
  EXPECT_EQ(::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC,
                    STATX_BASIC_STATS | STATX_MNT_ID, &stat),
            0);
  return stat;
}

// A source directory `source_`, with a tmpfs at source/mnt that holds the file "inside", and a
// file "beneath" in the directory that it covers.
class TreeMountsTest : public ::testing::TestWithParam<Metadata> {
 protected:
  void SetUp() override {
    OURO_NEEDS_ROOT();
    std::filesystem::create_directories(path("mnt"));
    std::filesystem::create_directories(path("plain"));
    write_file(path("mnt/beneath"), "beneath");
  }

  // Runs the test with mounts of its own, and an executor that sees them.
  [[nodiscard]] bool with_own_mounts(const std::function<void()>& test) {
    return passthrough::with_own_mounts([&] {
      covered_ = open_path_fd(path("mnt"));
      executor_ = std::make_unique<TestExecutor>(GetParam());
      test();
      tree_.reset();
      executor_.reset();
      covered_.reset();
    });
  }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const {
    return dir_ / "source" / name;
  }
  void mount_tmpfs(const std::string& name) {
    ASSERT_EQ(::mount("ouro-test", path(name).c_str(), "tmpfs", 0, "mode=0755"), 0);
  }
  void serve(Submounts submounts) { tree_ = make_tree(dir_ / "source", {.submounts = submounts}); }
  void own_mount_is(const std::string& name) {
    const struct ::statx stat = statx_of(path(name));
    tree_->set_own_mount({.mount = stat.stx_mnt_id,
                          .device = ::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                          .covered = std::move(covered_)});
  }
  [[nodiscard]] Executor& executor() { return **executor_; }
  Result<Entry> lookup(const char* name, NodeId parent = kRootNode) {
    return tree_->lookup(executor(), parent, name);
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  loop::UniqueFd covered_;
  std::unique_ptr<TestExecutor> executor_;
  std::unique_ptr<Tree> tree_;
};
OURO_BOTH_EXECUTORS(TreeMountsTest);

TEST_P(TreeMountsTest, FollowedMountsHaveInodeNumbersOfTheirOwn) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    std::filesystem::create_directory(path("other"));
    mount_tmpfs("other");
    write_file(path("mnt/inside"), "1");
    write_file(path("other/inside"), "2");
    ASSERT_EQ(stat_of(path("mnt")).st_ino, stat_of(path("other")).st_ino) << "fresh tmpfs roots";
    serve(Submounts::kFollow);
    const Entry mnt = lookup("mnt").value();
    const Entry other = lookup("other").value();
    const Entry one = lookup("inside", mnt.node).value();
    const Entry two = lookup("inside", other.node).value();
    const Entry plain = lookup("plain").value();
    EXPECT_NE(mnt.stat.stx_ino, other.stat.stx_ino);
    EXPECT_NE(one.stat.stx_ino, two.stat.stx_ino);
    EXPECT_EQ(plain.stat.stx_ino, stat_of(path("plain")).st_ino);
    // The same number from stat, and from reading the directory.
    EXPECT_EQ(tree_->attributes(executor(), one.node, 0, STATX_BASIC_STATS).value().stx_ino,
              one.stat.stx_ino);
    EXPECT_EQ(tree_->change_attributes(executor(), one.node, {}, {.mode = 0600}).value().stx_ino,
              one.stat.stx_ino);
    const auto handle = tree_->opendir(executor(), mnt.node).value();
    const auto directory = tree_->directory(handle).value();
    std::vector<std::byte> buffer(4096);
    const auto bytes = directory->read(0, buffer);
    ASSERT_GT(bytes, 0);
    bool found = false;
    for (const auto& record :
         parse_records(std::span(buffer).first(static_cast<std::size_t>(bytes)))) {
      if (record.name != "inside") continue;
      found = true;
      EXPECT_EQ(tree_->shown_inode(*directory, record.inode), one.stat.stx_ino);
    }
    EXPECT_TRUE(found);
  });
}

TEST_P(TreeMountsTest, OneDirectoryAtTwoPlacesIsTwoNodes) {
  OURO_WITH_OWN_MOUNTS([&] {
    std::filesystem::create_directory(path("again"));
    write_file(path("plain/file"), "");
    ASSERT_EQ(::mount(path("plain").c_str(), path("again").c_str(), nullptr, MS_BIND, nullptr), 0);
    serve(Submounts::kFollow);
    const Entry plain = lookup("plain").value();
    const Entry again = lookup("again").value();
    EXPECT_NE(plain.node, again.node);
    EXPECT_EQ(plain.stat.stx_ino, again.stat.stx_ino) << "the same device: the number is the same";
    const Entry one = lookup("file", plain.node).value();
    const Entry two = lookup("file", again.node).value();
    EXPECT_NE(one.node, two.node);
    // As natively: a link is within one mount.
    EXPECT_EQ(error_of(tree_->link(executor(), one.node, again.node, "link")), EXDEV);
  });
}

TEST_P(TreeMountsTest, OneFileSystemDoesNotCross) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    serve(Submounts::kStay);
    EXPECT_EQ(error_of(lookup("mnt")), EXDEV);
    EXPECT_EQ(error_of(lookup("plain")), 0);
    // A bind mount is another mount, of the same file system or not.
    ASSERT_EQ(::mount(path("mnt").c_str(), path("plain").c_str(), nullptr, MS_BIND, nullptr), 0);
    EXPECT_EQ(error_of(lookup("plain")), EXDEV);
  });
}

TEST_P(TreeMountsTest, TheOwnMountIsReplacedByWhatItCovers) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    write_file(path("mnt/inside"), "");
    serve(Submounts::kAvoidOwn);
    own_mount_is("mnt");
    const Entry mnt = lookup("mnt").value();
    EXPECT_EQ(error_of(lookup("beneath", mnt.node)), 0);
    EXPECT_EQ(error_of(lookup("inside", mnt.node)), ENOENT);
    EXPECT_EQ(lookup("mnt").value().node, mnt.node);
  });
}

TEST_P(TreeMountsTest, OtherMountsAreCrossedBesideTheOwn) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    mount_tmpfs("plain");
    write_file(path("plain/inside"), "");
    serve(Submounts::kAvoidOwn);
    own_mount_is("mnt");
    const auto plain = lookup("plain");
    ASSERT_TRUE(plain);
    EXPECT_EQ(error_of(lookup("inside", plain->node)), 0);
  });
}

TEST_P(TreeMountsTest, TheOwnMountBoundElsewhereIsALoop) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    ASSERT_EQ(::mount(path("mnt").c_str(), path("plain").c_str(), nullptr, MS_BIND, nullptr), 0);
    serve(Submounts::kAvoidOwn);
    own_mount_is("mnt");
    const std::size_t before = open_descriptors();
    EXPECT_EQ(error_of(lookup("plain")), ELOOP);
    EXPECT_EQ(open_descriptors(), before);
  });
}

// The FUSE connection behind this mount is answered by nobody: whoever asks it waits for ever.
TEST_P(TreeMountsTest, TheOwnMountIsAskedNothing) {
  const loop::UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) GTEST_SKIP() << "no /dev/fuse: errno " << errno;
  OURO_WITH_OWN_MOUNTS([&] {
    const std::string options =
        "fd=" + std::to_string(device.get()) + ",rootmode=40000,user_id=0,group_id=0";
    ASSERT_EQ(
        ::mount("ouro-test", path("mnt").c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()),
        0);
    ASSERT_EQ(::mount(path("mnt").c_str(), path("plain").c_str(), nullptr, MS_BIND, nullptr), 0);
    serve(Submounts::kAvoidOwn);
    own_mount_is("mnt");
    const auto mnt = lookup("mnt");
    ASSERT_TRUE(mnt);
    EXPECT_EQ(error_of(lookup("beneath", mnt->node)), 0);
    EXPECT_EQ(error_of(lookup("plain")), ELOOP);
  });
}

TEST_P(TreeMountsTest, MountPointsAreBusy) {
  OURO_WITH_OWN_MOUNTS([&] {
    mount_tmpfs("mnt");
    serve(Submounts::kFollow);
    EXPECT_EQ(error_of(tree_->rmdir(executor(), kRootNode, "mnt")), EBUSY);
    EXPECT_EQ(error_of(tree_->rename(executor(), kRootNode, "mnt", kRootNode, "x", 0)), EBUSY);
    EXPECT_EQ(error_of(tree_->mkdir(executor(), kRootNode, "mnt", creation(0755))), EEXIST);
  });
}

}  // namespace
}  // namespace ouro::passthrough
