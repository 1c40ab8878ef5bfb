#include "tests/integration/isolation.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace ouro::testing {
namespace {

constexpr const char* kFuseDevice = "/dev/fuse";
constexpr const char* kConnections = "/sys/fs/fuse/connections";
constexpr unsigned kFuseMajor = 10;
constexpr unsigned kFuseMinor = 229;

bool isolated = false;

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int wait_for(pid_t child) {
  int status = 0;
  pid_t ended = 0;
  // An init adopts orphans, and reaps them.
  while ((ended = ::waitpid(-1, &status, 0)) != child) {
    if (ended < 0 && errno != EINTR) return 2;
  }
  return code_of(status);
}

// A device node of that mode in place of /dev/fuse, which may be for root only.
bool open_fuse_device() {
  std::string directory = std::filesystem::temp_directory_path() / "ouro-dev-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return false;
  bool done = ::mount("ouro-dev", directory.c_str(), "tmpfs", MS_NOSUID, "mode=0755") == 0;
  const std::string node = directory + "/fuse";
  done = done && ::mknod(node.c_str(), S_IFCHR, ::makedev(kFuseMajor, kFuseMinor)) == 0 &&
         ::chmod(node.c_str(), 0666) == 0 &&
         ::mount(node.c_str(), kFuseDevice, nullptr, MS_BIND, nullptr) == 0;
  ::umount2(directory.c_str(), MNT_DETACH);
  ::rmdir(directory.c_str());
  return done;
}

bool furnish() {
  const bool mounts = ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                      ::mount("proc", "/proc", "proc", 0, nullptr) == 0;
  if (!mounts) return false;
  // Mounted already on most machines; then a second time does no harm.
  ::mount("fusectl", kConnections, "fusectl", 0, nullptr);
  if (!open_fuse_device()) std::perror("a /dev/fuse for everybody");
  return true;
}

// The first process of the new process namespace: when it goes, everything in there goes.
[[noreturn]] void be_init(const std::function<int()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!furnish()) {
    std::perror("cannot furnish a mount namespace");
    ::_exit(2);
  }
  isolated = true;
  const pid_t child = ::fork();
  if (child == 0) {
    const int code = body();
    std::fflush(nullptr);
    std::exit(code);
  }
  ::_exit(child < 0 ? 2 : wait_for(child));
}

}  // namespace

int run_isolated(const std::function<int()>& body) {
  // Where mkfs and its like are, even for those whose path is short.
  const char* search = std::getenv("PATH");
  ::setenv("PATH",
           (std::string(search != nullptr ? search : "/usr/bin") + ":/usr/sbin:/sbin").c_str(), 1);
  if (::geteuid() != 0) return body();
  if (::unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) {
    std::perror("no namespaces of our own, so tests run in the machine's");
    return body();
  }
  std::fflush(nullptr);
  const pid_t init = ::fork();
  if (init == 0) be_init(body);
  // KERNEL: whoever has made a process namespace cannot clone after its init has ended, and that is
  // what a leak checker would do at exit.
  ::_exit(init < 0 ? 2 : wait_for(init));
}

bool is_isolated() {
  return isolated;
}

}  // namespace ouro::testing
