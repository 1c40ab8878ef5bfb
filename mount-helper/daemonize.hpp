// Leaving the terminal without leaving the user in the dark: the parent returns to the shell only
// when the mount serves, and with the exit code that tells.
// Used by main before any other thread exists; ready() may come from main's thread later.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "loop/unique_fd.hpp"
#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

// Makes the process independent of who started it: descriptors 0 to 2 are open (on /dev/null where
// the caller had closed them), every other inherited descriptor is closed, SIGCHLD is not ignored.
// The first call of main: nothing that is open by then survives.
void forget_inheritance();

class Daemonizer {
 public:
  enum class Mode : std::uint8_t { kForeground, kBackground };

  // Both modes: the process stands in "/" and has no umask, so relative paths must have been
  // resolved before. kBackground: returns in the child only, in a session of its own. The parent
  // stays until the child is ready() and then exits with 0, or until the child ends and then exits
  // with its code (2 if that was no failure or a signal).
  // If the parent is killed while it waits, the child gets SIGTERM. So the caller blocks SIGINT,
  // SIGTERM, SIGHUP and SIGQUIT before, to deal with them when it can; the parent unblocks them.
  [[nodiscard]] static Outcome<Daemonizer> start(Mode mode);

  // The mount serves: detaches from the terminal and lets the parent go. Nothing in the foreground.
  void ready();

 private:
  Daemonizer() = default;
  void enter_background(pid_t parent);

  loop::UniqueFd parent_;  // closed: foreground, or ready() was called
  loop::UniqueFd null_;    // opened early: by the time of ready() the mount may cover /dev
};

}  // namespace ouro::mount_helper
