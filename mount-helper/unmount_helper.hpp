// A child process that unmounts for ourofs, and holds on to nothing of it.
//
// To unmount, and to write back what a mount's users have dirtied, is to wait for requests, in a
// system call that no signal ends. KERNEL(6.18): with FUSE-over-io_uring a request that is on its
// way to an entry ends only when the ring does, and a ring lives for as long as a process that has
// mapped it. So a process that waits for its own rings and is killed would be there for ever, and
// sync(2) would wait for its mount. This one has none.
//
// It also executes fusermount3 for a plain user's ourofs, which cannot do so itself any more: with
// PR_SET_NO_NEW_PRIVS (sandbox.hpp) fusermount3 would not become root. It keeps the mount namespace
// until ourofs has let go of its rings, for the same reason as above. And with the option
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

  // Unmounts what is at `path`, by umount(2) or by fusermount3. One thread at a time, as with the
  // next one; blocks until it is done, but for no longer than this process lives.
  [[nodiscard]] Outcome<void> unmount(const std::string& path, UnmountMode mode);
  // Detaches it, so that nobody comes anew, and then writes back the pages that its users have
  // dirtied. When that is done, every page is on its way: queued for the loops, or (some kernels)
  // written.
  [[nodiscard]] Outcome<void> detach_and_write_back(const std::string& path);

 private:
  UnmountHelper(loop::UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  [[nodiscard]] Outcome<void> ask(const std::string& request, const std::string& path);

  const loop::UniqueFd socket_;  // closed when we die
  const pid_t pid_;
};

}  // namespace ouro::mount_helper
