#include "passthrough/file_system_kinds.hpp"

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

class FileSystemKindsTest : public ::testing::Test {
 protected:
  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  InlineExecutor executor_{test_identity()};
};

TEST_F(FileSystemKindsTest, OrdinaryFileSystemsAreAskedOnce) {
  const loop::UniqueFd root = open_path_fd(dir_.path());
  const loop::UniqueFd proc = open_path_fd("/proc");
  FileSystemKinds kinds(device_of(dir_.path()), root.get());
  for (int i = 0; i < 2; ++i) {
    EXPECT_NE(kinds.kind_of(executor_, device_of(dir_.path()), root.get()), FileSystemKind::kFuse);
    EXPECT_EQ(kinds.kind_of(executor_, device_of("/proc"), proc.get()), FileSystemKind::kOther);
  }
  EXPECT_EQ(executor_.inline_calls(), 1U);
}

TEST_F(FileSystemKindsTest, FuseIsKnownAsSuch) {
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
    FileSystemKinds as_root(device_of(dir_ / "fuse"), fuse.get());
    EXPECT_EQ(as_root.kind_of(executor_, device_of(dir_ / "fuse"), fuse.get()),
              FileSystemKind::kFuse);
    EXPECT_EQ(executor_.inline_calls(), 0U);
    FileSystemKinds within(device_of(dir_.path()), open_path_fd(dir_.path()).get());
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(within.kind_of(executor_, device_of(dir_ / "fuse"), fuse.get()),
                FileSystemKind::kFuse);
    }
    EXPECT_EQ(executor_.inline_calls(), 1U);
  });
}

TEST_F(FileSystemKindsTest, WhatCannotBeAskedIsAskedAgain) {
  const loop::UniqueFd proc = open_path_fd("/proc");
  FileSystemKinds kinds(device_of(dir_.path()), open_path_fd(dir_.path()).get());
  EXPECT_EQ(kinds.kind_of(executor_, device_of("/proc"), -1), FileSystemKind::kFuse);
  EXPECT_EQ(kinds.kind_of(executor_, device_of("/proc"), proc.get()), FileSystemKind::kOther);
}

TEST_F(FileSystemKindsTest, ARootThatCannotBeAsked) {
  FileSystemKinds kinds(7, -1);
  EXPECT_EQ(kinds.kind_of(executor_, 7, -1), FileSystemKind::kFuse);
}

}  // namespace
}  // namespace ouro::passthrough
