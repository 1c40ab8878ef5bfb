// fusermount3 at work: mounts of plain users, and what it says when it refuses.
#include "mount-helper/fusermount.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "mount-helper/mount_point.hpp"
#include "mount_fixture.hpp"
#include "tiny_server.hpp"

namespace ouro::mount_helper {
namespace {

// As a plain user, through fusermount3, with a device that udev would have made readable.
class PlainUserMountTest : public MountPointTest {
 protected:
  void SetUp() override {
    MountPointTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!replace_fuse_device(0666)) GTEST_SKIP() << "cannot make devices here";
    place_ = make_directory("users place", kPlainUser);
  }
  static bool has_fusermount() { return ::access("/usr/bin/fusermount3", X_OK) == 0; }
};

TEST_F(PlainUserMountTest, MountsAndUnmounts) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  as_plain_user([this] {
    const auto mount = mounted();
    ASSERT_NE(mount, nullptr);
    EXPECT_TRUE(mount->is_mounted());
    EXPECT_EQ(ourofs_mounts(), 1);
    EXPECT_NE(mount_table().find(" fuse.ourofs /src "), std::string::npos);
    const loop::UniqueFd user(::open(place_.c_str(), O_PATH | O_CLOEXEC));
    const auto refused = mount->unmount(UnmountMode::kGraceful);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("Device or resource busy"), std::string::npos)
        << refused.error().message;
    EXPECT_TRUE(mount->unmount(UnmountMode::kLazy).has_value());
    EXPECT_EQ(ourofs_mounts(), 0);
  });
}

TEST_F(PlainUserMountTest, TheDestructorUnmountsAndLeavesOthersAlone) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  as_plain_user([this] {
    auto first = mounted();
    ASSERT_NE(first, nullptr);
    EXPECT_TRUE(first->unmount(UnmountMode::kGraceful).has_value());
    auto second = mounted({"fsname=/second", "subtype=ourofs"});
    ASSERT_NE(second, nullptr);
    {
      const TinyServer server(second->channel_fd());
      first.reset();
      EXPECT_TRUE(second->is_mounted());
      EXPECT_TRUE(second->unmount(UnmountMode::kGraceful).has_value());
    }
    auto third = mounted();
    ASSERT_NE(third, nullptr);
    third.reset();
  });
  EXPECT_EQ(ourofs_mounts(), 0);
}

TEST_F(PlainUserMountTest, AllowOtherNeedsTheConsentOfRoot) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  const std::string conf = directory_ / "fuse.conf";
  std::ofstream(conf) << "# empty\n";
  ASSERT_EQ(::mount(conf.c_str(), "/etc/fuse.conf", nullptr, MS_BIND, nullptr), 0);
  as_plain_user([this] {
    const Failure failure = refusal({"allow_other", "subtype=ourofs"});
    EXPECT_EQ(failure.message,
              "cannot mount on '" + place_ +
                  "': option allow_other only allowed if 'user_allow_other' is set "
                  "in /etc/fuse.conf");
    EXPECT_EQ(failure.hint, "root can add the line 'user_allow_other' to /etc/fuse.conf");
  });
}

TEST_F(PlainUserMountTest, ADirectoryOfSomeoneElseIsRefused) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  place_ = make_directory("roots place");
  as_plain_user([this] {
    const Failure failure = refusal();
    EXPECT_EQ(failure.message,
              "cannot mount on '" + place_ + "': user has no write access to mountpoint " + place_);
    EXPECT_EQ(failure.hint, "a user may mount only on directories that he can write to");
  });
}

TEST_F(PlainUserMountTest, WithoutFusermountThePackageIsNamed) {
  ASSERT_EQ(::mount("none", "/usr/bin", "tmpfs", 0, nullptr), 0);
  ::setenv("PATH", "/usr/bin:/bin", 1);
  as_plain_user([this] {
    const Failure failure = refusal();
    EXPECT_EQ(failure.message, "cannot mount on '" + place_ +
                                   "': failed to exec fusermount3: No such file or directory");
    EXPECT_EQ(failure.hint, "install the package fuse3");
  });
}

TEST_F(PlainUserMountTest, ADeviceForRootOnlyIsTold) {
  ASSERT_EQ(::chmod("/dev/fuse", 0600), 0);
  as_plain_user([this] {
    const Failure failure = refusal();
    EXPECT_EQ(failure.message, "cannot mount on '" + place_ + "': /dev/fuse: Permission denied");
    EXPECT_EQ(failure.hint, "this user may not open the device; udev makes it mode 0666");
  });
}

TEST_F(PlainUserMountTest, AttributesAreForRootOnlyAndLeaveNothingMounted) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  as_plain_user([this] {
    const auto before = mount_table();
    const auto mount =
        MountPoint::create({place_, {"fsname=/src", "subtype=ourofs"}, MOUNT_ATTR_NOSYMFOLLOW});
    ASSERT_FALSE(mount.has_value());
    EXPECT_EQ(mount.error().message,
              "cannot mount on '" + place_ +
                  "': options nodiratime and nosymfollow: Operation not permitted");
    EXPECT_EQ(mount.error().hint, "only root can use them");
    EXPECT_EQ(mount_table(), before);
  });
}

TEST_F(PlainUserMountTest, FusermountsOwnReasonIsTold) {
  if (!has_fusermount()) GTEST_SKIP() << "there is no fusermount3";
  as_plain_user([this] {
    const auto unmounted = run_fusermount(place_, UnmountMode::kGraceful);
    ASSERT_FALSE(unmounted.has_value());
    EXPECT_NE(unmounted.error().message.find("entry for " + place_ + " not found"),
              std::string::npos)
        << unmounted.error().message;
  });
}

}  // namespace
}  // namespace ouro::mount_helper
