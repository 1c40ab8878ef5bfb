// The mount itself: libfuse mounts, owns the channel fd and frees what it holds; we unmount,
// because libfuse would detach whatever is mounted at the path by then. Made once by main in the
// process that serves, before it has threads. unmount() and is_mounted() may be called from any
// thread; the rest belongs to main.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "mount-helper/failure.hpp"
#include "mount-helper/fusermount.hpp"
#include "mount-helper/mount_table.hpp"
#include "mount-helper/unmount_helper.hpp"

struct fuse_session;

namespace ouro::mount_helper {

struct MountRequest {
  std::string mountpoint;              // absolute, see resolve_places()
  std::vector<std::string> options;    // see libfuse_options()
  std::uint64_t mount_attributes = 0;  // MOUNT_ATTR_* of Options
  bool auto_unmount = false;           // see UnmountHelper
};

class MountPoint {
 public:
  // Mounts. A failure leaves nothing mounted and says why in one line, whoever knew the reason:
  // libfuse, fusermount3 or the kernel. Redirects stderr for as long as libfuse is at work.
  [[nodiscard]] static Outcome<std::unique_ptr<MountPoint>> create(const MountRequest& request);

  // Closes the channel, which ends the connection unless clones of it are open, and detaches the
  // mount if it is still there. Nobody may use the channel any more.
  ~MountPoint();
  MountPoint(const MountPoint&) = delete;
  MountPoint& operator=(const MountPoint&) = delete;
  MountPoint(MountPoint&&) = delete;
  MountPoint& operator=(MountPoint&&) = delete;

  // The channel of libfuse's session, non-blocking; borrowed.
  [[nodiscard]] int channel_fd() const;
  // st_dev of the mount: what a kShared source tree must not cross into. The kernel names the
  // connection in /sys/fs/fuse/connections after it.
  [[nodiscard]] dev_t device() const { return id_.device; }

  // Whether the mount is still in this process's mount table and not covered by another one. Sends
  // no request, so any thread may ask.
  [[nodiscard]] bool is_mounted() const;

  // Unmounts if that was not done from outside already; then it is no error. Never touches another
  // mount at the same path. kGraceful fails while the mount is in use. Blocks until the kernel has
  // written back what it holds: the requests that come of it must be served meanwhile, so no loop's
  // thread may call this before its channel is closed. As with the next one, it is the helper that
  // waits.
  [[nodiscard]] Outcome<void> unmount(UnmountMode mode);
  // The same for a mount whose users go on: UnmountHelper::detach_and_write_back().
  [[nodiscard]] Outcome<void> detach_and_write_back();

 private:
  MountPoint(fuse_session* session, std::string path);
  // Where the mount is now; empty when it is gone or covered.
  [[nodiscard]] std::string reachable_path() const;
  [[nodiscard]] loop::Status identify();
  [[nodiscard]] loop::Status start_helper(bool auto_unmount);
  [[nodiscard]] Outcome<void> set_attributes(std::uint64_t attributes) const;
  void retire_session();

  fuse_session* session_;  // ours from create() to the destructor
  std::string path_;
  MountId id_;
  std::unique_ptr<UnmountHelper> helper_;
};

// Another fd on the connection of `channel_fd`: same input queue, replies on either; non-blocking.
[[nodiscard]] loop::Result<loop::UniqueFd> clone_channel(int channel_fd);

}  // namespace ouro::mount_helper
