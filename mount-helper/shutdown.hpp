// How a mount ends by signals: the first SIGTERM, SIGINT or SIGQUIT (or SIGHUP, in the foreground)
// unmounts and lets everything in progress finish; a second one aborts the connection and ends the
// process at once. SIGUSR1 logs statistics.
//
// Signals have a thread of their own and not a place on a loop, because a loop may be stuck in a
// system call on a dead disk, and that is when they are needed most.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "fs/session.hpp"
#include "loop/event_notifier.hpp"
#include "loop/unique_fd.hpp"
#include "mount-helper/log.hpp"
#include "mount-helper/mount_point.hpp"

namespace ouro::mount_helper {

// Blocks what Shutdown reads, and ignores the signals that must not kill a file system (SIGPIPE,
// SIGXFSZ). Before any thread exists.
void block_signals();

// Ends the connection of one mount for everybody, as far as this user may: the kernel's abort file,
// opened while the mount is certain to be there. The number that names the file belongs to another
// mount as soon as ours is gone, but the file that is open does not.
class AbortSwitch {
 public:
  // For the mount on `device`, which must be mounted. Pins no mount where this process may make a
  // control file system of its own.
  explicit AbortSwitch(dev_t device);
  void pull() const;

 private:
  loop::UniqueFd file_;  // empty: this user may not
};

enum class Hangup : std::uint8_t { kEndsMount, kIsIgnored };

class Shutdown {
 public:
  // Begins to watch. `session`, `mount_point` and `log` outlive it. Errors: EMFILE and its like,
  // EAGAIN for the thread.
  [[nodiscard]] static loop::Result<std::unique_ptr<Shutdown>> create(fs::Session& session,
                                                                      MountPoint& mount_point,
                                                                      Hangup hangup, Log& log);
  // Waits for an unmount that has begun.
  ~Shutdown();
  Shutdown(const Shutdown&) = delete;
  Shutdown& operator=(const Shutdown&) = delete;

 private:
  Shutdown(fs::Session& session, MountPoint& mount_point, Hangup hangup, Log& log,
           loop::UniqueFd signals, loop::EventNotifier stop);
  void watch();  // in watcher_
  void on_signal(int signal);
  void unmount();  // in unmounter_: waits for requests that the loops serve
  void detach();   // the same, of a mount that is in use
  void await_idle();

  fs::Session& session_;
  MountPoint& mount_point_;
  const Hangup hangup_;
  Log& log_;
  const AbortSwitch abort_switch_;
  const loop::UniqueFd signals_;
  const loop::EventNotifier stop_;
  std::thread unmounter_;  // started by watcher_ at the first signal
  std::thread watcher_;
};

}  // namespace ouro::mount_helper
