// A real process with a signal pending, as a client of the mount has when it is interrupted.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace ouro::fs {

class SignalledChild {
 public:
  // SIGKILL: the child is dead but not waited for, so that the kernel goes on to say what killed
  // it. Any other signal: the child lives and blocks it.
  explicit SignalledChild(int signal) : pid_(::fork()) {
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) run_child(signal);
    siginfo_t stopped{};  // the child is ready
    (void)::waitid(P_PID, id(), &stopped, WSTOPPED);
    (void)::kill(pid_, signal);
    if (signal == SIGKILL) (void)::waitid(P_PID, id(), &stopped, WEXITED | WNOWAIT);
  }
  SignalledChild(const SignalledChild&) = delete;
  SignalledChild& operator=(const SignalledChild&) = delete;
  ~SignalledChild() {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  [[nodiscard]] id_t id() const { return static_cast<id_t>(pid_); }

  [[noreturn]] static void run_child(int signal) {
    sigset_t blocked;
    (void)::sigemptyset(&blocked);
    (void)::sigaddset(&blocked, signal);
    (void)::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    (void)::raise(SIGSTOP);
    for (;;) ::pause();
  }

  const pid_t pid_;
};

}  // namespace ouro::fs
