#include "passthrough/fuse_devices.hpp"

#include <sys/mount.h>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

std::uint64_t device_of(const std::filesystem::path& path) {
  struct ::statx stat {};
  // KERNEL: with an empty mask FUSE tells its device to those too whom it tells nothing else.
  EXPECT_EQ(::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, 0, &stat), 0) << path;
  return ::makedev(stat.stx_dev_major, stat.stx_dev_minor);
}

class FuseDevicesTest : public ::testing::Test {
 protected:
  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  InlineExecutor executor_{test_identity()};
};

TEST_F(FuseDevicesTest, OrdinaryFileSystemsAreAskedOnce) {
  const loop::UniqueFd root = open_path_fd(dir_.path());
  const loop::UniqueFd proc = open_path_fd("/proc");
  FuseDevices devices(device_of(dir_.path()), root.get());
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(devices.contain(executor_, device_of(dir_.path()), root.get()));
    EXPECT_FALSE(devices.contain(executor_, device_of("/proc"), proc.get()));
  }
  EXPECT_EQ(executor_.inline_calls(), 1U);
}

TEST_F(FuseDevicesTest, FuseIsKnownAsSuch) {
  OURO_NEEDS_ROOT();
  const loop::UniqueFd channel(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!channel) GTEST_SKIP() << "no /dev/fuse";
  // Nobody serves it. It belongs to somebody else, to whom it is no business of root's: then
  // statfs() tells the type without a request.
  const std::string options =
      "fd=" + std::to_string(channel.get()) + ",rootmode=40000,user_id=65534,group_id=65534";
  OURO_WITH_OWN_MOUNTS([&] {
    std::filesystem::create_directory(dir_ / "fuse");
    ASSERT_EQ(::mount("ouro-test", (dir_ / "fuse").c_str(), "fuse", MS_NOSUID | MS_NODEV,
                      options.c_str()),
              0);
    const loop::UniqueFd fuse = open_path_fd(dir_ / "fuse");
    FuseDevices as_root(device_of(dir_ / "fuse"), fuse.get());
    EXPECT_TRUE(as_root.contain(executor_, device_of(dir_ / "fuse"), fuse.get()));
    EXPECT_EQ(executor_.inline_calls(), 0U);
    FuseDevices within(device_of(dir_.path()), open_path_fd(dir_.path()).get());
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(within.contain(executor_, device_of(dir_ / "fuse"), fuse.get()));
    }
    EXPECT_EQ(executor_.inline_calls(), 1U);
  });
}

TEST_F(FuseDevicesTest, WhatCannotBeAskedIsAskedAgain) {
  const loop::UniqueFd proc = open_path_fd("/proc");
  FuseDevices devices(device_of(dir_.path()), open_path_fd(dir_.path()).get());
  EXPECT_TRUE(devices.contain(executor_, device_of("/proc"), -1));
  EXPECT_FALSE(devices.contain(executor_, device_of("/proc"), proc.get()));
}

TEST_F(FuseDevicesTest, ARootThatCannotBeAsked) {
  FuseDevices devices(7, -1);
  EXPECT_TRUE(devices.contain(executor_, 7, -1));
}

}  // namespace
}  // namespace ouro::passthrough
