#include "tests/unit/fs/kernel_mount.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <system_error>

namespace ouro::fs {
namespace {

void check(bool done, const char* what) {
  if (!done) throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

std::string KernelMount::missing() {
  if (::geteuid() != 0) return "needs root, to mount";
  const loop::UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  return device ? "" : "no /dev/fuse";
}

std::string KernelMount::missing_over_uring() {
  if (std::string reason = missing(); !reason.empty()) return reason;
  const char* const path = "/sys/module/fuse/parameters/enable_uring";
  std::ofstream(path) << "Y";
  std::string value;
  std::getline(std::ifstream(path), value);
  return value == "Y" ? "" : "the kernel has no FUSE-over-io_uring";
}

KernelMount::KernelMount()
    : home_namespace_(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC)),
      channel_(::open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
  check(channel_ && home_namespace_, "open");
  check(::unshare(CLONE_NEWNS) == 0, "unshare");
  check(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount --make-rprivate");
  std::filesystem::create_directory(path());
  const std::string options =
      "fd=" + std::to_string(channel()) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  mounted_ = ::mount("test", path().c_str(), "fuse.ourofs-test", MS_NOSUID | MS_NODEV,
                     options.c_str()) == 0;
  check(mounted_, "mount");
}

KernelMount::~KernelMount() {
  if (mounted_) (void)::umount2(path().c_str(), MNT_DETACH);
  channel_.reset();
  (void)::setns(home_namespace_.get(), CLONE_NEWNS);
}

void KernelMount::unmount() {
  check(::umount2(path().c_str(), MNT_DETACH) == 0, "umount");
  mounted_ = false;
}

void KernelMount::abort() {
  // The device number tells the connection. STATX_DONT_SYNC: nobody may be serving.
  struct ::statx stat {};
  check(::statx(AT_FDCWD, path().c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &stat) == 0, "statx");
  const auto control = directory_ / "control";
  std::filesystem::create_directory(control);
  check(::mount("none", control.c_str(), "fusectl", 0, nullptr) == 0, "mount fusectl");
  const auto id = ::makedev(stat.stx_dev_major, stat.stx_dev_minor);
  std::ofstream(control / std::to_string(id) / "abort") << 1;
  check(::umount(control.c_str()) == 0, "umount fusectl");
}

Client::Client(const std::function<int()>& body) : pid_(::fork()) {
  check(pid_ >= 0, "fork");
  if (pid_ != 0) return;
  // Not the channel, and no ring: the connection is to end with its server.
  ::closefrom(STDERR_FILENO + 1);
  ::_exit(body());
}

Client::~Client() {
  if (outcome()) return;
  (void)::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
}

std::optional<int> Client::outcome() {
  int status = 0;
  if (!outcome_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    outcome_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  return outcome_;
}

}  // namespace ouro::fs
