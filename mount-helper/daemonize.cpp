#include "mount-helper/daemonize.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

constexpr int kFirstOther = STDERR_FILENO + 1;

Outcome<void> leave_surroundings() {
  if (::chdir("/") != 0)
    return give_up(ExitCode::kSystem, "cannot enter '/': " + errno_text(errno));
  ::umask(0);
  return {};
}

void unblock_termination() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

[[noreturn]] void exit_now(ExitCode code) {
  ::_exit(static_cast<int>(code));
}

// The child has printed what went wrong, unless it could not.
[[noreturn]] void exit_like(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) ::_exit(WEXITSTATUS(status));
  std::string line = "ourofs: the serving process ended before the mount was ready";
  if (WIFSIGNALED(status)) line += ", by signal " + std::to_string(WTERMSIG(status));
  line += "\n";
  static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
  exit_now(ExitCode::kSystem);
}

[[noreturn]] void wait_for_child(pid_t child, const UniqueFd& channel) {
  unblock_termination();
  char byte = 0;
  ssize_t length = 0;
  do {
    length = ::recv(channel.get(), &byte, 1, 0);
  } while (length < 0 && errno == EINTR);
  if (length == 1) exit_now(ExitCode::kOk);
  exit_like(child);
}

}  // namespace

void forget_inheritance() {
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd < kFirstOther);
  // KERNEL(5.9): older ones answer ENOSYS; then what was inherited stays, as with any daemon.
  ::close_range(kFirstOther, ~0U, 0);
  ::signal(SIGCHLD, SIG_DFL);
}

Outcome<Daemonizer> Daemonizer::start(Mode mode) {
  Daemonizer daemon;
  if (mode == Mode::kForeground) {
    if (auto left = leave_surroundings(); !left) return tl::unexpected(left.error());
    return daemon;
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return give_up(ExitCode::kSystem, "cannot make a socket pair: " + errno_text(errno));
  }
  UniqueFd for_parent(ends[0]);
  daemon.parent_ = UniqueFd(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return give_up(ExitCode::kSystem, "cannot fork: " + errno_text(errno));
  if (child > 0) {
    daemon.parent_.reset();
    wait_for_child(child, for_parent);
  }
  for_parent.reset();
  daemon.enter_background(parent);
  if (auto left = leave_surroundings(); !left) return tl::unexpected(left.error());
  return daemon;
}

void Daemonizer::enter_background(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The parent may have died before the line above.
  if (::getppid() != parent) ::raise(SIGTERM);
  ::setsid();
  null_ = UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

void Daemonizer::ready() {
  if (!parent_) return;
  for (int fd = STDIN_FILENO; null_ && fd < kFirstOther; ++fd) ::dup2(null_.get(), fd);
  null_.reset();
  ::prctl(PR_SET_PDEATHSIG, 0);
  // No SIGPIPE: the parent may have been killed meanwhile.
  ::send(parent_.get(), "", 1, MSG_NOSIGNAL);
  parent_.reset();
}

}  // namespace ouro::mount_helper
