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
  OURO_TRY_ASSIGN(UniqueFd opened, open_handle(executor, *inode->handle, inode->key.mount));
  return PinnedInode(std::move(inode), std::move(opened));
}

Result<UniqueFd> Tree::open_handle(Executor& executor, const SourceHandle& handle,
                                   std::uint64_t mount) {
  handle_opens_.fetch_add(1, std::memory_order_relaxed);
  const int mount_fd = mounts_.find(mount);
  UniqueFd opened;
  // Under the daemon's own identity: that of a caller lacks the capability.
  OURO_TRY(to_status(executor.call([&]() -> loop::KernelResult {
    auto fd = handle.open(mount_fd);
    if (!fd) return -fd.error().value();
    opened = std::move(*fd);
    return 0;
  })));
  return opened;
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
    if (inodes_.names_durably(inode.key)) {
      inode.durable_id = durable_ids_->id_of(*inode.handle, inode.key.inode).value_or(0);
    }
  }
  return inodes_.intern(std::move(inode));
}

void Tree::try_durable_ids(const Inode& root) {
  const auto handle = SourceHandle::of(root.path_fd.get());
  if (handle) durable_ids_ = DurableIds::like(*handle, root.key.inode);
  if (durable_ids_) inodes_.name_durably();
}

Result<UniqueFd> Tree::path_of(Executor& executor, NodeId node) {
  const auto known = pin(executor, node);
  if (known) {
    UniqueFd fd(::fcntl(known->fd(), F_DUPFD_CLOEXEC, 0));
    if (!fd) return fail(errno);
    return fd;
  }
  if (!DurableIds::is_durable(node)) return tl::unexpected(known.error());
  OURO_TRY_ASSIGN(const InodeRef root, inodes_.find(kRootNode));
  return open_handle(executor, durable_ids_->handle_of(node), root->key.mount);
}

Result<Entry> Tree::find_again(Executor& executor, NodeId node) {
  if (!durable_ids_) return fail(EINVAL);
  OURO_TRY_ASSIGN(UniqueFd path_fd, path_of(executor, node));
  OURO_TRY_ASSIGN(const Entry entry, intern(executor, std::move(path_fd)));
  if (entry.node == node) return entry;
  inodes_.forget(entry.node, 1);
  return fail(ESTALE);
}

Result<Entry> Tree::lookup_parent(Executor& executor, NodeId directory) {
  if (!durable_ids_) return fail(EINVAL);
  if (directory == kRootNode) return find_again(executor, kRootNode);
  OURO_TRY_ASSIGN(const PinnedInode pinned, pin(executor, directory));
  return lookup_in(executor, pinned, "..");
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
