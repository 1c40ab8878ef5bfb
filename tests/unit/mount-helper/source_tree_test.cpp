#include "mount-helper/source_tree.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "mount-helper/mount_point.hpp"
#include "own_namespace.hpp"
#include "tiny_server.hpp"

namespace ouro::mount_helper {
namespace {

class ResolvePlaces : public ::testing::Test {
 protected:
  ResolvePlaces() {
    std::string pattern = std::filesystem::temp_directory_path() / "ourofs-test-XXXXXX";
    root_ = std::filesystem::canonical(::mkdtemp(pattern.data()));
    std::filesystem::create_directories(root_ / "source/inner");
    std::filesystem::create_directories(root_ / "source2");
    std::filesystem::create_directories(root_ / "mnt");
    std::ofstream(root_ / "file") << "x";
    std::filesystem::create_symlink("source", root_ / "link");
    previous_ = std::filesystem::current_path();
    std::filesystem::current_path(root_);
  }
  ~ResolvePlaces() override {
    std::filesystem::current_path(previous_);
    std::filesystem::remove_all(root_);
  }

  static std::string refusal(const std::string& source, const std::string& mountpoint) {
    const auto places = resolve_places(source, mountpoint);
    if (places) return "accepted";
    EXPECT_EQ(places.error().exit_code, ExitCode::kMountFailed);
    return places.error().message;
  }

  std::filesystem::path root_;
  std::filesystem::path previous_;
};

TEST_F(ResolvePlaces, MakesRelativePathsAndLinksAbsolute) {
  const auto places = resolve_places("link/../source/", "./mnt/.");
  ASSERT_TRUE(places.has_value()) << render(places.error());
  EXPECT_EQ(places->source, root_ / "source");
  EXPECT_EQ(places->mountpoint, root_ / "mnt");
  EXPECT_EQ(resolve_places("link", "mnt")->source, root_ / "source");
}

TEST_F(ResolvePlaces, NamesTheObjectAndTheReason) {
  EXPECT_EQ(refusal("none", "mnt"), "source 'none': No such file or directory");
  EXPECT_EQ(refusal("", "mnt"), "source '': No such file or directory");
  EXPECT_EQ(refusal("file", "mnt"), "source 'file': Not a directory");
  EXPECT_EQ(refusal("source", "none"), "mountpoint 'none': No such file or directory");
  EXPECT_EQ(refusal("source", "file"), "mountpoint 'file': Not a directory");
  EXPECT_EQ(refusal("source", "no\nne"), "mountpoint 'no?ne': No such file or directory");
}

TEST_F(ResolvePlaces, RefusesASourceThatTheMountWouldHide) {
  EXPECT_EQ(refusal("source/inner", "link"),
            "source 'source/inner' is inside mountpoint 'link', which would hide it");
  EXPECT_EQ(refusal("mnt", "/"), "source 'mnt' is inside mountpoint '/', which would hide it");
}

TEST_F(ResolvePlaces, TakesTheSameDirectoryTwiceAndAMountpointInTheSource) {
  EXPECT_EQ(refusal("source", "link"), "accepted");
  EXPECT_EQ(refusal("source", "source/inner"), "accepted");
  EXPECT_EQ(refusal("/", "mnt"), "accepted");
  EXPECT_EQ(refusal("source2", "source"), "accepted") << "a prefix is not a parent";
}

TEST_F(ResolvePlaces, RefusesASourceThatTheUserCannotRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  ASSERT_EQ(::chmod(root_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod((root_ / "source").c_str(), 0700), 0);
  as_plain_user([] { EXPECT_EQ(refusal("source", "mnt"), "source 'source': Permission denied"); });
}

TEST(SourceTree, PlainUsersGetTheSharedView) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  as_plain_user([] {
    const auto tree = open_source_tree("/", Submounts::kInclude);
    ASSERT_TRUE(tree.has_value()) << render(tree.error());
    EXPECT_EQ(tree->view, SourceTree::View::kShared);
    EXPECT_EQ(tree->path, "/");
    EXPECT_NE(::fcntl(tree->root.get(), F_GETFL) & O_PATH, 0);
    EXPECT_EQ(::fcntl(tree->root.get(), F_GETFD), FD_CLOEXEC);
  });
}

TEST(SourceTree, TellsThatItWentAway) {
  const auto tree = open_source_tree("/no/such/place", Submounts::kInclude);
  ASSERT_FALSE(tree.has_value());
  EXPECT_EQ(tree.error().message, "source '/no/such/place': No such file or directory");
}

class ClonedTree : public OwnNamespace {
 protected:
  // A tree on a shared mount, as systemd makes all mounts.
  void SetUp() override {
    OwnNamespace::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_EQ(::mount("none", directory_.c_str(), nullptr, MS_SHARED, nullptr), 0);
    source_ = make_directory("source");
    early_ = make_directory("source/early");
    late_ = make_directory("source/late");
    mount_tmpfs_with_a_file(early_);
  }

  static void mount_tmpfs_with_a_file(const std::string& path) {
    ASSERT_EQ(::mount("test", path.c_str(), "tmpfs", 0, nullptr), 0);
    std::ofstream(path + "/file") << "x";
  }
  static bool shows(const SourceTree& tree, const char* path) {
    return ::faccessat(tree.root.get(), path, F_OK, 0) == 0;
  }

  std::string source_;
  std::string early_;
  std::string late_;
};

TEST_F(ClonedTree, ShowsMountsOfThenButNotLaterOnes) {
  const auto tree = open_source_tree(source_, Submounts::kInclude);
  ASSERT_TRUE(tree.has_value()) << render(tree.error());
  ASSERT_EQ(tree->view, SourceTree::View::kPrivateClone);
  mount_tmpfs_with_a_file(late_);
  EXPECT_TRUE(shows(*tree, "early/file"));
  EXPECT_TRUE(shows(*tree, "late"));
  EXPECT_FALSE(shows(*tree, "late/file"));
}

TEST_F(ClonedTree, UnmountingBelowItDoesNotChangeIt) {
  const auto tree = open_source_tree(source_, Submounts::kInclude);
  ASSERT_TRUE(tree.has_value()) << render(tree.error());
  ASSERT_EQ(::umount2(early_.c_str(), 0), 0);
  EXPECT_TRUE(shows(*tree, "early/file"));
}

TEST_F(ClonedTree, MayLeaveSubmountsOut) {
  const auto tree = open_source_tree(source_, Submounts::kExclude);
  ASSERT_TRUE(tree.has_value()) << render(tree.error());
  ASSERT_EQ(tree->view, SourceTree::View::kPrivateClone);
  EXPECT_TRUE(shows(*tree, "early"));
  EXPECT_FALSE(shows(*tree, "early/file"));
}

// relatime would move a time that lies before the last change.
TEST_F(ClonedTree, LeavesAccessTimesAloneWhereAsked) {
  const auto atime_after_read = [&](std::uint64_t attributes) {
    const auto tree = open_source_tree(early_, Submounts::kInclude, attributes);
    EXPECT_TRUE(tree.has_value());
    const timespec times[] = {{1, 0}, {2, 0}};
    EXPECT_EQ(::utimensat(AT_FDCWD, (early_ + "/file").c_str(), times, 0), 0);
    const loop::UniqueFd file(::openat(tree->root.get(), "file", O_RDONLY | O_CLOEXEC));
    char byte = 0;
    EXPECT_EQ(::read(file.get(), &byte, 1), 1);
    struct stat stat {};
    EXPECT_EQ(::fstat(file.get(), &stat), 0);
    return stat.st_atime;
  };
  EXPECT_GT(atime_after_read(0), 2);
  EXPECT_EQ(atime_after_read(MOUNT_ATTR_NOATIME), 1);
  EXPECT_GT(atime_after_read(MOUNT_ATTR_NODIRATIME), 2);
}

TEST_F(ClonedTree, KeepsItsFileSystemBusy) {
  const auto tree = open_source_tree(early_, Submounts::kInclude);
  ASSERT_TRUE(tree.has_value()) << render(tree.error());
  EXPECT_EQ(::umount2(early_.c_str(), 0), -1);
  EXPECT_EQ(errno, EBUSY);
}

TEST_F(ClonedTree, IsNotChangedByWhatIsMountedOverIt) {
  const auto tree = open_source_tree(early_, Submounts::kInclude);
  ASSERT_TRUE(tree.has_value()) << render(tree.error());
  ASSERT_EQ(::mount("test", early_.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_TRUE(shows(*tree, "file"));
}

class BusyPlaces : public OwnNamespace {
 protected:
  void SetUp() override {
    OwnNamespace::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (::access("/dev/fuse", R_OK) != 0) GTEST_SKIP() << "there is no /dev/fuse";
    other_ = make_directory("other");
    place_ = make_directory("place");
    auto mount = MountPoint::create({place_, {"fsname=/first source", "subtype=ourofs"}, 0});
    ASSERT_TRUE(mount.has_value()) << render(mount.error());
    mount_ = *std::move(mount);
  }

  std::string other_;
  std::string place_;
  std::unique_ptr<MountPoint> mount_;
};

TEST_F(BusyPlaces, ASecondMountIsRefusedUnlessItServesItself) {
  const TinyServer server(mount_->channel_fd());
  const auto second = resolve_places(other_, place_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().exit_code, ExitCode::kMountFailed);
  EXPECT_EQ(second.error().message,
            "mountpoint '" + place_ + "' is busy: ourofs already serves '/first source' there");
  EXPECT_TRUE(resolve_places(place_, place_).has_value());
  EXPECT_TRUE(resolve_places(place_, other_).has_value());
  ASSERT_TRUE(mount_->unmount(UnmountMode::kGraceful).has_value());
}

TEST_F(BusyPlaces, AMountWithoutServerIsToldWithTheWayOut) {
  const loop::UniqueFd keeps_it(::open(place_.c_str(), O_PATH | O_CLOEXEC));
  const std::string alias = make_directory("alias");
  ASSERT_EQ(::mount(place_.c_str(), alias.c_str(), nullptr, MS_BIND, nullptr), 0);
  mount_.reset();  // closes the channel; the alias stays
  const auto dead = resolve_places(other_, alias);
  ASSERT_FALSE(dead.has_value());
  EXPECT_EQ(dead.error().message,
            "mountpoint '" + alias + "': Transport endpoint is not connected");
  EXPECT_EQ(dead.error().hint,
            "the program that served it is gone; unmount it with: "
            "fusermount3 -u '" +
                alias + "'");
}

}  // namespace
}  // namespace ouro::mount_helper
