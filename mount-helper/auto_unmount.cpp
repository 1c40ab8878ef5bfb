#include "mount-helper/auto_unmount.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "mount-helper/fusermount.hpp"

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

// Returns when the parent is dead, and not at all when it has ended the watch. Holds on to nothing
// of it, and least of all to the channel: the connection would live for as long as the watch does.
void outlive_parent(int pipe_fd) {
  constexpr int kPipe = STDERR_FILENO + 1;
  if (::dup2(pipe_fd, kPipe) < 0) ::_exit(1);
  ::closefrom(kPipe + 1);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = STDIN_FILENO; fd < kPipe; ++fd) ::dup2(null.get(), fd);
  char byte = 0;
  ssize_t told = 0;
  do {
    told = ::read(kPipe, &byte, 1);
  } while (told < 0 && errno == EINTR);
  if (told > 0) ::_exit(0);
}

void detach(const std::string& path) {
  if (::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0 || errno != EPERM) return;
  static_cast<void>(run_fusermount(path, UnmountMode::kLazy));
}

[[noreturn]] void watch(const MountId& id, const std::string& path, int pipe_fd) {
  // Not killed along with the process group or terminal of who started us.
  ::setsid();
  sigset_t signals;
  ::sigfillset(&signals);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::prctl(PR_SET_NAME, "ourofs-unmount");
  outlive_parent(pipe_fd);
  constexpr int kLooks = 1'000;
  constexpr useconds_t kPauseUs = 10'000;
  for (int look = 0; look < kLooks; ++look) {
    const std::string now = path_of_mount(id, path);
    if (now.empty()) break;
    if (is_dead(now)) {
      detach(now);
      break;
    }
    ::usleep(kPauseUs);
  }
  ::_exit(0);
}

}  // namespace

loop::Result<std::unique_ptr<AutoUnmount>> AutoUnmount::start(const MountId& id,
                                                              const std::string& path) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return loop::fail(errno);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return loop::fail(errno);
  if (child == 0) watch(id, path, read_end.get());
  return std::unique_ptr<AutoUnmount>(new AutoUnmount(std::move(write_end), child));
}

AutoUnmount::~AutoUnmount() {
  // By a word and not by a signal: what kills the watch could kill others (call_filter.hpp).
  (void)!::write(lifeline_.get(), "", 1);
  while (::waitpid(watcher_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace ouro::mount_helper
