// The option auto_unmount and fusermount3 at work are tested with whole mounts; here, what the two
// processes say to each other.
#include "mount-helper/unmount_helper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

std::unique_ptr<UnmountHelper> start() {
  auto helper = UnmountHelper::start({}, "/nowhere", UnmountHelper::Orphaned::kEnds);
  EXPECT_TRUE(helper.has_value());
  return helper ? std::move(*helper) : nullptr;
}

pid_t only_child() {
  pid_t child = -1;
  std::ifstream("/proc/thread-self/children") >> child;
  return child;
}

TEST(UnmountHelper, HoldsOnToNothingWhenItHasStarted) {
  for (int i = 0; i < 20; ++i) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const auto helper = start();
    ASSERT_NE(helper, nullptr);
    std::string name;
    std::ifstream("/proc/" + std::to_string(only_child()) + "/comm") >> name;
    EXPECT_EQ(name, "ourofs-unmount");
    ::close(ends[1]);
    pollfd pipe{ends[0], POLLIN, 0};
    EXPECT_EQ(::poll(&pipe, 1, 0), 1) << "it has our pipe";
    EXPECT_EQ(pipe.revents, POLLHUP);
    ::close(ends[0]);
  }
}

TEST(UnmountHelper, TellsWhatItComesTo) {
  const auto helper = start();
  ASSERT_NE(helper, nullptr);
  for (const UnmountMode mode : {UnmountMode::kGraceful, UnmountMode::kLazy}) {
    const auto refused = helper->unmount("/no mount", mode);
    ASSERT_FALSE(refused.has_value());
    if (::geteuid() == 0) {
      EXPECT_EQ(render(refused.error()),
                "ourofs: cannot unmount '/no mount': No such file or directory");
    } else {
      EXPECT_EQ(refused.error(), run_fusermount("/no mount", mode).error());
    }
  }
}

TEST(UnmountHelper, ItsDeathIsTold) {
  const auto helper = start();
  ASSERT_NE(helper, nullptr);
  const pid_t child = only_child();
  ASSERT_GT(child, 0);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto refused = helper->unmount("/mnt", UnmountMode::kGraceful);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(render(refused.error()),
            "ourofs: cannot unmount '/mnt': the process that was to do it has ended "
            "(try umount or fusermount3 -u)");
}

TEST(UnmountHelper, EndsWithTheObject) {
  start().reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "it is left";
}

}  // namespace
}  // namespace ouro::mount_helper
