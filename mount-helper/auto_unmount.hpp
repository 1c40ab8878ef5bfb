// The option auto_unmount: a child process that outlives ourofs and detaches its mount if that was
// left behind dead, by a kill -9 for instance.
//
// fusermount3 has such a watch of its own, which libfuse would use. It looks once, at the moment
// when its socket closes, and leaves the mount alone if it finds somebody alive there; but when a
// process dies the kernel may let go of a channel and its clones a little later.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "mount-helper/mount_table.hpp"

namespace ouro::mount_helper {

class AutoUnmount {
 public:
  // Watches over the mount `id`, made at `path`. Forks: before this process has threads. Errors:
  // of pipe2() and fork().
  [[nodiscard]] static loop::Result<std::unique_ptr<AutoUnmount>> start(const MountId& id,
                                                                        const std::string& path);
  // Ends the watch: the mount is somebody else's business now.
  ~AutoUnmount();
  AutoUnmount(const AutoUnmount&) = delete;
  AutoUnmount& operator=(const AutoUnmount&) = delete;
  AutoUnmount(AutoUnmount&&) = delete;
  AutoUnmount& operator=(AutoUnmount&&) = delete;

 private:
  AutoUnmount(loop::UniqueFd lifeline, pid_t watcher)
      : lifeline_(std::move(lifeline)), watcher_(watcher) {}

  const loop::UniqueFd lifeline_;  // a pipe that the watcher reads from; closed when we die
  const pid_t watcher_;
};

}  // namespace ouro::mount_helper
