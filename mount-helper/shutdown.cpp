#include "mount-helper/shutdown.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iterator>
#include <string>
#include <system_error>
#include <utility>

namespace ouro::mount_helper {
namespace {

// Users of a detached mount that never pause cannot delay its end for longer.
constexpr std::chrono::seconds kLongestWriteBack(10);

sigset_t handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1}) ::sigaddset(&set, signal);
  return set;
}

// The control file system where nobody has mounted it: a mount of our own that no path leads to.
// Empty if this process may not mount.
loop::UniqueFd detached_fusectl() {
  const loop::UniqueFd context(::fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!context) return {};
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) return {};
  return loop::UniqueFd(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

}  // namespace

void block_signals() {
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

loop::Result<std::unique_ptr<Shutdown>> Shutdown::create(fs::Session& session,
                                                         MountPoint& mount_point, Hangup hangup,
                                                         Log& log) {
  const sigset_t set = handled_signals();
  loop::UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return loop::fail(errno);
  OURO_TRY_ASSIGN(auto stop, loop::EventNotifier::create());
  try {
    return std::unique_ptr<Shutdown>(
        new Shutdown(session, mount_point, hangup, log, std::move(signals), std::move(stop)));
  } catch (const std::system_error& error) {
    return loop::fail(error.code().value());
  }
}

Shutdown::Shutdown(fs::Session& session, MountPoint& mount_point, Hangup hangup, Log& log,
                   loop::UniqueFd signals, loop::EventNotifier stop)
    : session_(session),
      mount_point_(mount_point),
      hangup_(hangup),
      log_(log),
      abort_switch_(mount_point.device()),
      signals_(std::move(signals)),
      stop_(std::move(stop)),
      watcher_([this] { watch(); }) {}

Shutdown::~Shutdown() {
  stop_.set();
  watcher_.join();
  if (unmounter_.joinable()) unmounter_.join();
}

void Shutdown::watch() {
  pollfd fds[] = {{signals_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
  while (!stop_.test_and_clear()) {
    (void)::poll(fds, std::size(fds), -1);
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      on_signal(static_cast<int>(info.ssi_signo));
    }
  }
}

void Shutdown::on_signal(int signal) {
  if (signal == SIGUSR1) return session_.post_statistics();
  if (signal == SIGHUP && hangup_ == Hangup::kIsIgnored) return;
  const std::string name = std::string("SIG") + ::sigabbrev_np(signal);
  if (unmounter_.joinable()) {
    log_.write(loop::LogLevel::kWarning, name + " again: the connection is aborted");
    abort_switch_.pull();
    // No destructor: it would wait for an operation that may never end.
    unmounter_.detach();
    ::_exit(static_cast<int>(ExitCode::kSystem));
  }
  log_.write(loop::LogLevel::kInfo, name + ": unmounting");
  unmounter_ = std::thread([this] { unmount(); });
}

void Shutdown::unmount() {
  if (const auto unmounted = mount_point_.unmount(UnmountMode::kGraceful); !unmounted) {
    log_.write(loop::LogLevel::kWarning, unmounted.error().message + "; detaching it");
    detach();
  }
  // Nothing new comes now, or only from those who still use a detached mount.
  session_.drain();
}

void Shutdown::detach() {
  const auto detached = mount_point_.detach_and_write_back();
  if (!detached) log_.write(loop::LogLevel::kError, detached.error().message);
  await_idle();
}

// KERNEL: syncfs() does not wait for FUSE's pages: they were copied into requests up to 6.15. Some
// of these wait in a queue of the kernel until others are answered, so the only sign
// of their end is that nothing is left to do.
void Shutdown::await_idle() {
  using std::chrono::milliseconds;
  constexpr milliseconds kPause(5);
  constexpr int kLooks = 3;
  const auto deadline = std::chrono::steady_clock::now() + kLongestWriteBack;
  for (int idle = 0; idle < kLooks && std::chrono::steady_clock::now() < deadline;) {
    idle = session_.is_idle() ? idle + 1 : 0;
    std::this_thread::sleep_for(kPause);
  }
}

AbortSwitch::AbortSwitch(dev_t device) {
  // KERNEL: Documentation/filesystems/fuse.rst; the directory is named after the device's minor.
  const std::string name = std::to_string(::minor(device)) + "/abort";
  if (const loop::UniqueFd control = detached_fusectl()) {
    file_.reset(::openat(control.get(), name.c_str(), O_WRONLY | O_CLOEXEC));
  } else {
    file_.reset(::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  }
}

void AbortSwitch::pull() const {
  if (file_) (void)!::write(file_.get(), "1", 1);
}

}  // namespace ouro::mount_helper
