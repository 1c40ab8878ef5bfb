// How the files of the source are held: by descriptors, and where these run short by file handles.
#include <fcntl.h>

#include <utility>

#include "passthrough/syscalls.hpp"
#include "passthrough/tree.hpp"

namespace ouro::passthrough {

using loop::fail;
using loop::to_status;
using loop::UniqueFd;

Status Tree::learn_mount(const Inode& directory) {
  const int fd = directory.path_fd.get();
  UniqueFd mount_fd(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!mount_fd) return fail(errno);  // another directory may do
  // Tried out, because the capability alone does not tell: the file system must know them too.
  const auto handle = SourceHandle::of(fd);
  const auto again =
      handle ? handle->open(mount_fd.get()) : Result<UniqueFd>(tl::unexpected(handle.error()));
  mounts_.add(directory.key.mount, again ? std::move(mount_fd) : UniqueFd());
  if (!again) return tl::unexpected(again.error());
  return {};
}

Result<PinnedInode> Tree::pin(Executor& executor, NodeId node) {
  OURO_TRY_ASSIGN(InodeRef inode, inodes_.find(node));
  if (!inode->held_by_handle()) return PinnedInode(std::move(inode));
  handle_opens_.fetch_add(1, std::memory_order_relaxed);
  const int mount_fd = mounts_.find(inode->key.mount);
  UniqueFd opened;
  // Under the daemon's own identity: that of a caller lacks the capability.
  OURO_TRY(to_status(executor.call([&]() -> loop::KernelResult {
    auto fd = inode->handle->open(mount_fd);
    if (!fd) return -fd.error().value();
    opened = std::move(*fd);
    return 0;
  })));
  return PinnedInode(std::move(inode), std::move(opened));
}

Result<NodeId> Tree::hold(Executor& executor, Inode inode) {
  const bool wants_handles = options_.file_handles && inodes_.limits_descriptors();
  if (wants_handles && S_ISDIR(inode.type) && !mounts_.knows(inode.key.mount)) {
    OURO_TRY(to_status(executor.call([&]() -> loop::KernelResult {
      (void)learn_mount(inode);
      return 0;
    })));
  }
  if (const auto node = inodes_.try_intern(inode)) return *node;
  if (mounts_.find(inode.key.mount) >= 0) {
    OURO_TRY_ASSIGN(inode.handle, handle_of(executor, inode.path_fd.get()));
  }
  return inodes_.intern(std::move(inode));
}

Result<SourceHandle> Tree::handle_of(Executor& executor, int fd) {
  Result<SourceHandle> handle = fail(EOPNOTSUPP);
  (void)executor.call_at_once([&]() -> loop::KernelResult {
    handle = SourceHandle::of(fd);
    return 0;
  });
  return handle;
}

// --- names that go -------------------------------------------------------------------------------

Tree::LastLook Tree::look_before_removal(Executor& executor, const PinnedInode& directory,
                                         const char* name) {
  LastLook look;
  if (inodes_.held_by_handle() == 0) return look;
  auto fd = open_path(executor, directory, name);
  struct ::statx stat {};
  if (!fd || sys::statx(executor, fd->get(), 0, kEntryMask, stat) < 0) return look;
  look.key = key_of(stat);
  if (!inodes_.holds_by_handle(look.key)) return look;
  if (auto handle = handle_of(executor, fd->get())) {
    look.handle = std::move(*handle);
    look.path_fd = std::move(*fd);
  }
  return look;
}

void Tree::hold_what_lost_its_name(Executor& executor, LastLook look) {
  if (!look.handle) return;
  struct ::statx stat {};
  if (sys::statx(executor, look.path_fd.get(), 0, STATX_NLINK, stat) < 0) return;
  if (stat.stx_nlink > 0) return;
  inodes_.hold(look.key, *look.handle, std::move(look.path_fd));
}

}  // namespace ouro::passthrough
