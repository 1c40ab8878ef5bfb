// The parts of a shutdown. The whole, with signals that come to a program which serves, is the
// business of tests/integration/ending_test.cpp.
#include "mount-helper/shutdown.hpp"

#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "mount_fixture.hpp"
#include "tiny_server.hpp"

namespace ouro::mount_helper {
namespace {

// In a child, because a test program is to be killed by its signals.
TEST(BlockSignals, HoldsBackWhatIsReadAndIgnoresWhatWouldKill) {
  const auto survives = [] {
    block_signals();
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGPIPE, SIGXFSZ}) {
      ::raise(signal);
    }
    sigset_t pending;
    ::sigpending(&pending);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1}) {
      if (::sigismember(&pending, signal) != 1) ::_exit(1);
    }
    for (const int signal : {SIGPIPE, SIGXFSZ}) {
      if (::sigismember(&pending, signal) != 0) ::_exit(2);
    }
    ::_exit(0);
  };
  EXPECT_EXIT(survives(), ::testing::ExitedWithCode(0), "");
}

class AbortSwitchTest : public MountPointTest {
 protected:
  void SetUp() override {
    MountPointTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }

  static bool has_ended(int channel) {
    pollfd watched{channel, POLLIN, 0};
    ::poll(&watched, 1, 0);
    return (watched.revents & POLLERR) != 0;
  }

  void expect_aborted() {
    const auto mount = mounted();
    ASSERT_NE(mount, nullptr);
    {
      const TinyServer server(mount->channel_fd());
      struct ::stat stat {};
      ASSERT_EQ(::stat(place_.c_str(), &stat), 0);
      EXPECT_EQ(stat.st_dev, mount->device());
      EXPECT_FALSE(has_ended(mount->channel_fd()));
      AbortSwitch(mount->device()).pull();
    }  // the server has seen the end
    EXPECT_TRUE(has_ended(mount->channel_fd()));
    EXPECT_TRUE(mount->is_mounted()) << "whoever asks gets an error, but sees no other directory";
    struct ::statfs file_system {};
    EXPECT_LT(::statfs(place_.c_str(), &file_system), 0);
    EXPECT_EQ(errno, ENOTCONN);
  }
};

TEST_F(AbortSwitchTest, EndsTheServerOfThatMount) {
  expect_aborted();
}

TEST_F(AbortSwitchTest, NeedsNobodyToHaveMountedTheControlFileSystem) {
  ASSERT_EQ(::mount("none", "/sys/fs/fuse/connections", "tmpfs", 0, nullptr), 0);
  expect_aborted();
}

TEST_F(AbortSwitchTest, LeavesOtherMountsAlone) {
  const auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  AbortSwitch(makedev(major(mount->device()), 0xfffff)).pull();
  EXPECT_FALSE(has_ended(mount->channel_fd()));
}

// The kernel gives a new mount the lowest number that is free, so the next one gets ours.
TEST_F(AbortSwitchTest, LeavesTheNextMountWithThatNumberAlone) {
  auto mount = mounted();
  ASSERT_NE(mount, nullptr);
  const dev_t device = mount->device();
  const AbortSwitch old(device);
  mount.reset();
  std::vector<std::unique_ptr<MountPoint>> later;  // others may mount at the same time
  do {
    place_ = make_directory("later" + std::to_string(later.size()));
    later.push_back(mounted());
    ASSERT_NE(later.back(), nullptr);
  } while (later.back()->device() != device && later.size() < 100);
  ASSERT_EQ(later.back()->device(), device);
  old.pull();
  EXPECT_FALSE(has_ended(later.back()->channel_fd()));
  AbortSwitch(device).pull();
  EXPECT_TRUE(has_ended(later.back()->channel_fd()));
}

}  // namespace
}  // namespace ouro::mount_helper
