// A child process that unmounts for ourofs, and holds on to nothing of it.
//
// It executes fusermount3 for a plain user's ourofs, which cannot do so itself any more: with
// PR_SET_NO_NEW_PRIVS (sandbox.hpp) fusermount3 would not become root. And with the option
// auto_unmount it outlives ourofs and detaches the mount if that was left behind dead, by a kill -9
// for instance. fusermount3 has such a watch of its own, which libfuse would use. It looks once, at
// the moment when its socket closes, and leaves the mount alone if it finds somebody alive there;
// but when a process dies the kernel may let go of a channel and its clones a little later.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "mount-helper/failure.hpp"
#include "mount-helper/fusermount.hpp"
#include "mount-helper/mount_table.hpp"

namespace ouro::mount_helper {

class UnmountHelper {
 public:
  // What it does when ourofs has died without ending it.
  enum class Orphaned : std::uint8_t { kEnds, kDetaches };

  // For the mount `id`, made at `path`. Forks: before this process has threads. Returns when the
  // child has let go of what it has inherited. Errors: of socketpair() and fork(); ECHILD if it has
  // died at once.
  [[nodiscard]] static loop::Result<std::unique_ptr<UnmountHelper>> start(const MountId& id,
                                                                          const std::string& path,
                                                                          Orphaned orphaned);
  // Ends it: the mount is somebody else's business now.
  ~UnmountHelper();
  UnmountHelper(const UnmountHelper&) = delete;
  UnmountHelper& operator=(const UnmountHelper&) = delete;
  UnmountHelper(UnmountHelper&&) = delete;
  UnmountHelper& operator=(UnmountHelper&&) = delete;

  // run_fusermount(), there. One thread at a time; blocks until it has ended.
  [[nodiscard]] Outcome<void> unmount(const std::string& path, UnmountMode mode);

 private:
  UnmountHelper(loop::UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  const loop::UniqueFd socket_;  // closed when we die
  const pid_t pid_;
};

}  // namespace ouro::mount_helper
