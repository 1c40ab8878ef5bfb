// Operations on open directories.
#include <fcntl.h>

#include <utility>

#include "passthrough/syscalls.hpp"
#include "passthrough/tree.hpp"

namespace ouro::passthrough {

using loop::fail;
using loop::UniqueFd;

Result<DirHandleId> Tree::opendir(Executor& executor, NodeId node, int flags) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  if (!S_ISDIR(inode->type)) return fail(ENOTDIR);
  OURO_TRY(check_room(DescriptorBudget::Use::kDirectory));
  OURO_TRY_ASSIGN(UniqueFd fd,
                  reopen(executor, inode.fd(), O_RDONLY | O_DIRECTORY | (flags & O_NOATIME)));
  budget_.note(fd.get());
  return directories_.insert(std::make_shared<DirHandle>(inode.ref(), std::move(fd)));
}

Result<std::shared_ptr<DirHandle>> Tree::directory(DirHandleId handle) const {
  auto directory = directories_.find(handle);
  if (!directory) return fail(EBADF);
  return directory;
}

Status Tree::fsyncdir(Executor& executor, DirHandleId handle, bool data_only) {
  OURO_TRY_ASSIGN(const auto open_directory, directory(handle));
  return loop::to_status(
      sys::fsync(executor, open_directory->fd(), data_only ? IORING_FSYNC_DATASYNC : 0));
}

std::uint64_t Tree::shown_inode(const DirHandle& directory, std::uint64_t inode) {
  return devices_.shown_inode(directory.inode().key.device, inode);
}

}  // namespace ouro::passthrough
