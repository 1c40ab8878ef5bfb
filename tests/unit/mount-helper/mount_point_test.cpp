#include "mount-helper/mount_point.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "mount_fixture.hpp"
#include "tiny_server.hpp"

namespace ouro::mount_helper {
namespace {

std::size_t count_fds() {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}

TEST_F(MountPointTest, MountsWithTypeSourceAndOptions) {
  const auto mount = mounted({"ro", "fsname=/a,b \\c", "subtype=ourofs", "default_permissions"});
  ASSERT_NE(mount, nullptr);
  const std::string line = table_line(place_);
  EXPECT_NE(line.find("- fuse.ourofs /a,b\\040\\134c ro"), std::string::npos) << line;
  EXPECT_NE(line.find("default_permissions"), std::string::npos) << line;
  EXPECT_NE(line.find("ro,nosuid,nodev"), std::string::npos) << line;
}

TEST_F(MountPointTest, GivesItsChannelAndDevice) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  EXPECT_NE(::fcntl(mount->channel_fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(mount->channel_fd(), F_GETFD), FD_CLOEXEC);
  const std::string device =
      " " + std::to_string(major(mount->device())) + ":" + std::to_string(minor(mount->device()));
  EXPECT_NE(table_line(place_).find(device + " "), std::string::npos);
  EXPECT_TRUE(mount->is_mounted()) << "and nobody had to serve a request for that";
}

TEST_F(MountPointTest, LeavesNothingBehind) {
  const std::size_t fds = count_fds();
  const auto before = mount_table();
  ASSERT_NE(mounted(), nullptr);
  EXPECT_EQ(mount_table(), before);
  EXPECT_EQ(count_fds(), fds);
}

TEST_F(MountPointTest, AClosedChannelHidesNoDescriptorOfOurs) {
  const std::size_t fds = count_fds();
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  EXPECT_EQ(count_fds(), fds + 2) << "the channel, the helper's socket and nothing else";
}

TEST_F(MountPointTest, GracefulUnmountEndsTheConnection) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value());
  EXPECT_EQ(table_line(place_), "");
  EXPECT_FALSE(mount->is_mounted());
  pollfd channel{mount->channel_fd(), 0, 0};
  ASSERT_EQ(::poll(&channel, 1, 0), 1);
  EXPECT_NE(channel.revents & POLLERR, 0);
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value()) << "twice is no error";
}

TEST_F(MountPointTest, GracefulUnmountRefusesWhileInUseAndLazyDoesNot) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const loop::UniqueFd user(::open(place_.c_str(), O_PATH | O_CLOEXEC));
  const auto refused = mount->unmount(UnmountMode::kGraceful);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(render(refused.error()),
            "ourofs: cannot unmount '" + place_ + "': Device or resource busy");
  EXPECT_TRUE(mount->is_mounted());
  EXPECT_TRUE(mount->unmount(UnmountMode::kLazy).has_value());
  EXPECT_EQ(table_line(place_), "");
}

TEST_F(MountPointTest, TheDestructorUnmountsEvenWhileInUse) {
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const loop::UniqueFd user(::open(place_.c_str(), O_PATH | O_CLOEXEC));
  mount.reset();
  EXPECT_EQ(table_line(place_), "");
}

TEST_F(MountPointTest, AfterAnUnmountFromOutsideOthersMountsAreLeftAlone) {
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  ASSERT_EQ(::umount2(place_.c_str(), 0), 0);
  EXPECT_FALSE(mount->is_mounted());
  ASSERT_EQ(::mount("foreign", place_.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_FALSE(mount->is_mounted());
  EXPECT_TRUE(mount->unmount(UnmountMode::kLazy).has_value());
  mount.reset();
  EXPECT_NE(table_line(place_).find("foreign"), std::string::npos);
}

TEST_F(MountPointTest, AFuseMountThatTookThePlaceIsNotOurs) {
  auto first = mounted();
  ASSERT_NE(first, nullptr);
  ASSERT_EQ(::umount2(place_.c_str(), 0), 0);
  const auto second = mounted({"fsname=/second", "subtype=ourofs"});
  ASSERT_NE(second, nullptr);
  const TinyServer server(second->channel_fd());
  // The numbers of the first may be used again by the second.
  EXPECT_FALSE(first->is_mounted());
  first.reset();
  EXPECT_TRUE(second->is_mounted());
  EXPECT_TRUE(second->unmount(UnmountMode::kGraceful).has_value());
}

TEST_F(MountPointTest, AMountOverOursIsLeftAlone) {
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  ASSERT_EQ(::mount("foreign", place_.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_FALSE(mount->is_mounted());
  mount.reset();
  EXPECT_NE(table_line(place_).find("foreign"), std::string::npos);
}

TEST_F(MountPointTest, TheMountBelowOursIsLeftAlone) {
  ASSERT_EQ(::mount("below", place_.c_str(), "tmpfs", 0, nullptr), 0);
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  // Detached but alive: libfuse would now detach what is at the path.
  const loop::UniqueFd user(::open(place_.c_str(), O_PATH | O_CLOEXEC));
  ASSERT_TRUE(mount->unmount(UnmountMode::kLazy).has_value());
  mount.reset();
  EXPECT_NE(table_line(place_).find("below"), std::string::npos);
}

TEST_F(MountPointTest, IsFoundWhereItWasMovedTo) {
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const std::string elsewhere = make_directory("else where");
  ASSERT_EQ(::mount(place_.c_str(), elsewhere.c_str(), nullptr, MS_MOVE, nullptr), 0);
  EXPECT_TRUE(mount->is_mounted());
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value());
  EXPECT_EQ(ourofs_mounts(), 0);
}

TEST_F(MountPointTest, AnAbortedConnectionIsStillUnmounted) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const std::string control = make_directory("control");
  ASSERT_EQ(::mount("none", control.c_str(), "fusectl", 0, nullptr), 0);
  std::ofstream(control + "/" + std::to_string(mount->device()) + "/abort") << "1";
  pollfd channel{mount->channel_fd(), 0, 0};
  ASSERT_EQ(::poll(&channel, 1, 1000), 1) << "device() must name the connection";
  EXPECT_TRUE(mount->is_mounted());
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value());
  EXPECT_EQ(table_line(place_), "");
}

TEST_F(MountPointTest, AServedMountCanBeUnmountedByAnotherThread) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const TinyServer server(mount->channel_fd());
  struct stat root {};
  EXPECT_EQ(::stat(place_.c_str(), &root), 0);
  EXPECT_EQ(root.st_dev, mount->device());
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value());
}

TEST_F(MountPointTest, SetsTheAttributesThatLibfuseDoesNotKnow) {
  const auto mount = MountPoint::create(
      {place_, {"fsname=/src", "subtype=ourofs"}, MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NODIRATIME});
  ASSERT_TRUE(mount.has_value()) << render(mount.error());
  const std::string line = table_line(place_);
  EXPECT_NE(line.find("nosymfollow"), std::string::npos) << line;
  EXPECT_NE(line.find("nodiratime"), std::string::npos) << line;
}

TEST_F(MountPointTest, AutoUnmountLeavesALivingMountToItsOwner) {
  auto mount = MountPoint::create({place_, {"fsname=/src", "subtype=ourofs"}, 0, true});
  ASSERT_TRUE(mount.has_value()) << render(mount.error());
  EXPECT_TRUE((*mount)->is_mounted());
  EXPECT_TRUE((*mount)->unmount(UnmountMode::kGraceful).has_value());
  EXPECT_EQ(table_line(place_), "");
  mount->reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "the watcher is left";
}

TEST_F(MountPointTest, ClonesShareTheConnection) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const auto clone = clone_channel(mount->channel_fd());
  ASSERT_TRUE(clone.has_value());
  EXPECT_NE(::fcntl(clone->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(clone->get(), F_GETFD), FD_CLOEXEC);
  pollfd request{clone->get(), POLLIN, 0};
  ASSERT_EQ(::poll(&request, 1, 0), 1) << "the clone sees INIT";
  EXPECT_TRUE(mount->unmount(UnmountMode::kGraceful).has_value());
  EXPECT_EQ(::poll(&request, 1, 0), 1);
  EXPECT_NE(request.revents & POLLERR, 0);
}

TEST_F(MountPointTest, OnlyChannelsCanBeCloned) {
  const loop::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto clone = clone_channel(null.get());
  ASSERT_FALSE(clone.has_value());
  EXPECT_EQ(clone.error().value(), EINVAL);
}

TEST_F(MountPointTest, NoDeviceIsToldWithTheWayOut) {
  ASSERT_EQ(::mount("none", "/dev", "tmpfs", 0, nullptr), 0);
  std::ofstream("/dev/null") << "";
  const Failure failure = refusal();
  EXPECT_EQ(failure.message,
            "cannot mount on '" + place_ + "': /dev/fuse: No such file or directory");
  EXPECT_EQ(failure.hint, "load the module with 'modprobe fuse', or give the container the device");
}

TEST_F(MountPointTest, TheKernelsOwnReasonIsTold) {
  place_ += "/is/not/there";
  EXPECT_EQ(refusal().message, "cannot mount on '" + place_ + "': failed to access mountpoint " +
                                   place_ + ": No such file or directory");
}

TEST_F(MountPointTest, LibfusesOwnReasonIsTold) {
  EXPECT_EQ(refusal({"not_an_option"}).message,
            "cannot mount on '" + place_ + "': unknown option(s): `-o not_an_option'");
}

}  // namespace
}  // namespace ouro::mount_helper
