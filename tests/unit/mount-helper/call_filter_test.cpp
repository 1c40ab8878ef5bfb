#include "mount-helper/call_filter.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

constexpr int kNoFilter = 100;

// The wait status of a process that has filtered its calls and then runs `body`.
int status_under_filter(const std::function<int()>& body,
                        const std::vector<unsigned long>& ioctls = {}) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (!filter_calls(ioctls)) ::_exit(kNoFilter);
    ::_exit(body());
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

testing::AssertionResult survives(const std::function<int()>& body) {
  const int status = status_under_filter(body);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "wait status " << status;
}

testing::AssertionResult is_killed(const std::function<int()>& body) {
  const int status = status_under_filter(body);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "wait status " << status;
}

TEST(CallFilter, EndsTheProcessAtWhatServingDoesNotNeed) {
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  EXPECT_TRUE(is_killed([&] { return ::execv(program, arguments); }));
  EXPECT_TRUE(is_killed([] { return ::fork(); }));
  EXPECT_TRUE(is_killed([] { return static_cast<int>(::ptrace(PTRACE_TRACEME, 0, 0, 0)); }));
  EXPECT_TRUE(is_killed([] { return ::mount("none", "/", nullptr, MS_REMOUNT, nullptr); }));
  EXPECT_TRUE(is_killed([] { return ::fsopen("tmpfs", 0); }));
  EXPECT_TRUE(is_killed([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }));
  EXPECT_TRUE(is_killed([] { return ::kill(::getppid(), 0); }));
  EXPECT_TRUE(is_killed([] { return static_cast<int>(::syscall(SYS_bpf, 0, nullptr, 0)); }));
  EXPECT_TRUE(is_killed([] { return ::setresuid(0, 0, 0); }));
}

// No filter sees what a ring without restrictions is asked for.
TEST(CallFilter, EndsTheProcessThatMakesARing) {
  EXPECT_TRUE(is_killed([] {
    io_uring_params params{};
    return static_cast<int>(::syscall(SYS_io_uring_setup, 1, &params));
  }));
}

TEST(CallFilter, LetsNoMemoryBecomeCode) {
  EXPECT_TRUE(is_killed([] {
    return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
  }));
  EXPECT_TRUE(survives([] {
    void* memory =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? 1 : ::mprotect(memory, 4096, PROT_READ);
  }));
}

TEST(CallFilter, LetsOnlyTheServedIoctlsThrough) {
  EXPECT_TRUE(survives([] {
    int flags = 0;
    return ::ioctl(-1, FS_IOC_GETFLAGS, &flags) == -1 && errno == EBADF ? 0 : 1;
  }));
  EXPECT_TRUE(is_killed([] { return ::ioctl(-1, FIFREEZE, 0); }));
}

TEST(CallFilter, AllowsTheIoctlsThatThisMountNeeds) {
  constexpr unsigned long kNeeded = _IOW(229, 1, long long[2]);  // a channel's BACKING_OPEN
  const auto call = [] { return ::ioctl(-1, kNeeded, 0) == -1 && errno == EBADF ? 0 : 1; };
  EXPECT_TRUE(is_killed(call));
  EXPECT_EQ(status_under_filter(call, {kNeeded}), 0);
  const auto other = [] { return ::ioctl(-1, FIFREEZE, 0); };
  EXPECT_TRUE(WIFSIGNALED(status_under_filter(other, {kNeeded})));
}

TEST(CallFilter, TellsALibraryThatNewCallsAreNotThere) {
  EXPECT_TRUE(survives([] {
    constexpr long kStatmount = 457;
    const bool told = ::syscall(kStatmount, 0, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS;
    return told && ::syscall(SYS_clone3, nullptr, 0) == -1 && errno == ENOSYS ? 0 : 1;
  }));
}

TEST(CallFilter, LetsThreadsBegin) {
  EXPECT_TRUE(survives([] {
    std::atomic<int> done = 1;
    std::thread([&] { done = 0; }).join();
    return done.load();
  }));
}

TEST(CallFilter, HoldsForThreadsThatWereThereBefore) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    std::atomic<bool> filtered = false;
    std::thread before([&] {
      while (!filtered) std::this_thread::yield();
      ::socket(AF_UNIX, SOCK_STREAM, 0);
    });
    if (!filter_calls({})) ::_exit(kNoFilter);
    filtered = true;
    before.join();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

TEST(CallFilter, TakesNoNewPrivilegesAlong) {
  EXPECT_TRUE(survives([] {
    char text[4096]{};
    const int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const bool read = ::read(fd, text, sizeof text - 1) > 0;
    return read && std::string(text).find("\nNoNewPrivs:\t1\n") != std::string::npos ? 0 : 1;
  }));
}

}  // namespace
}  // namespace ouro::mount_helper
