// Operations on names: making, finding, moving and removing the entries of directories.
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "passthrough/syscalls.hpp"
#include "passthrough/tree.hpp"

namespace ouro::passthrough {

using loop::fail;
using loop::to_status;
using loop::UniqueFd;

Result<Entry> Tree::lookup(Executor& executor, NodeId parent, const char* name) {
  OURO_TRY(check_name(name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  return lookup_in(executor, directory, name);
}

Result<Entry> Tree::lookup_in(Executor& executor, const PinnedInode& directory, const char* name) {
  OURO_TRY_ASSIGN(UniqueFd path_fd, open_path(executor, directory, name));
  return intern(executor, std::move(path_fd));
}

Result<Entry> Tree::mkdir(Executor& executor, NodeId parent, const char* name,
                          const Creation& creation) {
  OURO_TRY(check_name(name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  const Credentials owner = Credentials::owner(creation.caller);
  OURO_TRY_ASSIGN(const mode_t mode, effective_mode(executor, directory, creation));
  OURO_TRY(to_status(sys::mkdirat(executor, directory.fd(), name, mode, &owner)));
  return lookup_in(executor, directory, name);
}

Result<Entry> Tree::mknod(Executor& executor, NodeId parent, const char* name,
                          const Creation& creation, dev_t device) {
  OURO_TRY(check_name(name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  const Credentials owner = Credentials::owner(creation.caller);
  OURO_TRY_ASSIGN(const mode_t mode, effective_mode(executor, directory, creation));
  OURO_TRY(to_status(sys::mknodat(executor, directory.fd(), name, mode, device, &owner)));
  return lookup_in(executor, directory, name);
}

Result<Entry> Tree::symlink(Executor& executor, NodeId parent, const char* name, const char* target,
                            const Creation& creation) {
  OURO_TRY(check_name(name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  const Credentials owner = Credentials::owner(creation.caller);
  OURO_TRY(to_status(sys::symlinkat(executor, target, directory.fd(), name, &owner)));
  return lookup_in(executor, directory, name);
}

Result<Entry> Tree::link(Executor& executor, NodeId node, NodeId new_parent, const char* new_name,
                         const Caller& caller) {
  OURO_TRY(check_name(new_name));
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, new_parent));
  const auto payer = Credentials::payer(caller);
  OURO_TRY(to_status(
      sys::link_fd(executor, inode.fd(), directory.fd(), new_name, payer ? &*payer : nullptr)));
  return lookup_in(executor, directory, new_name);
}

Status Tree::unlink(Executor& executor, NodeId parent, const char* name) {
  return remove_name(executor, parent, name, 0);
}

Status Tree::rmdir(Executor& executor, NodeId parent, const char* name) {
  return remove_name(executor, parent, name, AT_REMOVEDIR);
}

Status Tree::remove_name(Executor& executor, NodeId parent, const char* name, int flags) {
  OURO_TRY(check_name(name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  LastLook look = look_before_removal(executor, directory, name);
  OURO_TRY(to_status(sys::unlinkat(executor, directory.fd(), name, flags)));
  hold_what_lost_its_name(executor, std::move(look));
  return {};
}

Status Tree::rename(Executor& executor, NodeId parent, const char* name, NodeId new_parent,
                    const char* new_name, unsigned flags, const Caller& caller) {
  OURO_TRY(check_name(name));
  OURO_TRY(check_name(new_name));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  OURO_TRY_ASSIGN(const PinnedInode new_directory, pin(executor, new_parent));
  const auto identity = (flags & RENAME_WHITEOUT) != 0 ? std::optional(Credentials::owner(caller))
                                                       : Credentials::payer(caller);
  LastLook look = look_before_removal(executor, new_directory, new_name);
  OURO_TRY(to_status(sys::renameat2(executor, directory.fd(), name, new_directory.fd(), new_name,
                                    flags, identity ? &*identity : nullptr)));
  hold_what_lost_its_name(executor, std::move(look));
  return {};
}

Result<std::size_t> Tree::readlink(Executor& executor, NodeId node, std::span<std::byte> out) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  // KERNEL: readlinkat(fd, "") of anything else says ENOENT.
  if (!S_ISLNK(inode->type)) return fail(EINVAL);
  OURO_TRY_ASSIGN(const std::int64_t bytes,
                  loop::to_result(sys::readlinkat(executor, inode.fd(), out)));
  // A target that was cut off fills the buffer.
  if (static_cast<std::size_t>(bytes) == out.size()) return fail(ENAMETOOLONG);
  return static_cast<std::size_t>(bytes);
}

}  // namespace ouro::passthrough
