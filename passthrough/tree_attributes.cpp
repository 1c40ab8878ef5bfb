// Operations on attributes, access rights and extended attributes.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include "passthrough/syscalls.hpp"
#include "passthrough/task_status.hpp"
#include "passthrough/tree.hpp"

namespace ouro::passthrough {
namespace {

using loop::fail;
using loop::from_libc;
using loop::to_status;
using loop::UniqueFd;

// Enough for nearly every list of names; the others are read to the heap.
constexpr std::size_t kUsualListBytes = 1024;

Result<std::size_t> to_size(loop::KernelResult result) {
  if (result < 0) return fail(static_cast<int>(-result));
  return static_cast<std::size_t>(result);
}

Status set_mode(Executor& executor, int proc_fds, const PinnedInode& inode, mode_t mode) {
  // KERNEL(6.6): says so itself; before, some file systems changed it.
  if (S_ISLNK(inode->type)) return fail(EOPNOTSUPP);
  const ProcPath path(inode.fd());
  return to_status(executor.call(
      [&] { return from_libc(::fchmodat(proc_fds, path.name(), mode & 07777U, 0)); }));
}

Status set_owner(Executor& executor, const PinnedInode& inode, uid_t uid, gid_t gid,
                 const std::optional<Credentials>& credentials) {
  return to_status(executor.call(credentials ? &*credentials : nullptr, [&] {
    return from_libc(::fchownat(inode.fd(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  }));
}

constexpr auto kSameOwner = static_cast<uid_t>(-1);

// chown(path, -1, -1): moves the ctime, and clears set-id bits if the caller owns the file.
// KERNEL: the client sends the same change of nothing, by whoever may write the file, before each
// write that may clear them (fs/fuse/dir.c, fuse_setattr()). So a refusal is none: the write that
// follows does it, or nothing does.
Status touch(Executor& executor, const PinnedInode& inode, const SetIdKiller& killer) {
  const Status touched =
      set_owner(executor, inode, kSameOwner, kSameOwner, touch_credentials(killer, inode.fd()));
  if (!touched && touched.error() == loop::Errno(EPERM)) return {};
  return touched;
}

Status set_times(Executor& executor, const PinnedInode& inode, const AttributeChanges& changes) {
  constexpr timespec kOmit{0, UTIME_OMIT};
  const std::array<timespec, 2> times{changes.atime.value_or(kOmit), changes.mtime.value_or(kOmit)};
  // KERNEL(5.8): utimensat() takes AT_EMPTY_PATH.
  return to_status(executor.call([&] {
    return from_libc(
        ::utimensat(inode.fd(), "", times.data(), AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  }));
}

// The next of the names in `list`, each of which ends with NUL.
std::string_view first_name(std::span<const std::byte> list) {
  return reinterpret_cast<const char*>(list.data());
}

bool is_trusted(std::string_view name) {
  return name.starts_with("trusted.");
}

bool has_trusted(std::span<const std::byte> list) {
  while (!list.empty()) {
    const std::string_view name = first_name(list);
    if (is_trusted(name)) return true;
    list = list.subspan(name.size() + 1);
  }
  return false;
}

enum class Trusted : std::uint8_t { kShown, kHidden };

// Whether the caller sees the trusted names in `list`, for which CAP_SYS_ADMIN is needed. That of
// root is looked up in /proc, but only if there are any; that others do not have it is assumed.
Trusted trusted_for(const Caller& caller, std::span<const std::byte> list) {
  if (!has_trusted(list)) return Trusted::kShown;
  const bool sees = caller.uid == 0 && has_capability(caller.pid, CAP_SYS_ADMIN);
  return sees ? Trusted::kShown : Trusted::kHidden;
}

// Copies the names to `out`, or only counts their bytes if that is empty.
Result<std::size_t> copy_names(std::span<const std::byte> list, Trusted trusted,
                               std::span<std::byte> out) {
  std::size_t bytes = 0;
  while (!list.empty()) {
    const std::string_view name = first_name(list);
    const auto entry = list.first(name.size() + 1);
    list = list.subspan(entry.size());
    if (trusted == Trusted::kHidden && is_trusted(name)) continue;
    if (!out.empty()) {
      if (entry.size() > out.size() - bytes) return fail(ERANGE);
      std::ranges::copy(entry, out.begin() + static_cast<std::ptrdiff_t>(bytes));
    }
    bytes += entry.size();
  }
  return bytes;
}

}  // namespace

Result<struct ::statx> Tree::attributes(Executor& executor, NodeId node, unsigned sync,
                                        unsigned mask) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  return attributes_of(executor, inode, sync, mask);
}

Result<struct ::statx> Tree::attributes_of(Executor& executor, const PinnedInode& inode,
                                           unsigned sync, unsigned mask) {
  struct ::statx stat {};
  OURO_TRY(to_status(sys::statx(executor, inode.fd(), sync, mask, stat)));
  OURO_TRY(check_truth(executor, inode->key.device, inode.fd()));
  stat.stx_ino = devices_.shown_inode(inode->key.device, inode->key.inode);
  return stat;
}

Status Tree::check_truth(Executor& executor, std::uint64_t device, int fd) {
  if (!executor.refuses_blocking()) return {};
  if (kinds_.kind_of(executor, device, fd) == FileSystemKind::kLocal) return {};
  return to_status(executor.refuse());
}

Result<struct ::statx> Tree::change_attributes(Executor& executor, NodeId node,
                                               std::optional<FileHandleId> handle,
                                               const AttributeChanges& changes) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  if (changes.mode) OURO_TRY(set_mode(executor, proc_fds_.get(), inode, *changes.mode));
  if (changes.uid || changes.gid) {
    OURO_TRY(set_owner(executor, inode, changes.uid.value_or(kSameOwner),
                       changes.gid.value_or(kSameOwner),
                       chown_credentials(changes.killer, inode.fd())));
  }
  const bool changes_nothing = !changes.mode && !changes.uid && !changes.gid && !changes.size &&
                               !changes.atime && !changes.mtime;
  if (changes_nothing) OURO_TRY(touch(executor, inode, changes.killer));
  std::optional<ContentChange> change;
  if (changes.size || changes.mtime) change.emplace(*inode, inode.fd());
  if (changes.size) {
    const auto killing = killing_credentials(changes.killer, inode.fd());
    OURO_TRY(set_size(executor, inode, handle, *changes.size, killing ? &*killing : nullptr));
  }
  if (changes.atime || changes.mtime) OURO_TRY(set_times(executor, inode, changes));
  return attributes_of(executor, inode, 0, STATX_BASIC_STATS | STATX_BTIME);
}

Status Tree::set_size(Executor& executor, const PinnedInode& inode,
                      std::optional<FileHandleId> handle, std::int64_t size,
                      const Credentials* credentials) {
  if (S_ISDIR(inode->type)) return fail(EISDIR);
  if (!S_ISREG(inode->type) || size < 0) return fail(EINVAL);
  // The open file first: it may be truncated even where its mode lets nobody open it for writing.
  const auto file = handle ? files_.find(*handle) : nullptr;
  if (file && file->inode().key == inode->key) {
    return to_status(sys::ftruncate(executor, file->buffered_fd(), size, credentials));
  }
  OURO_TRY_ASSIGN(const UniqueFd fd, reopen(executor, inode.fd(), O_WRONLY));
  return to_status(sys::ftruncate(executor, fd.get(), size, credentials));
}

Status Tree::access(Executor& executor, NodeId node, int mask, const Caller& caller) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  const Credentials credentials = Credentials::caller(caller);
  // The system call itself, because AT_EACCESS (whose fsuid it is that counts) and AT_EMPTY_PATH
  // are what the C library emulates or refuses.
  return to_status(executor.call(&credentials, [&] {
    return from_libc(::syscall(SYS_faccessat2, inode.fd(), "", mask,
                               AT_EACCESS | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  }));
}

Result<struct ::statvfs> Tree::statfs(Executor& executor, NodeId node) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  struct ::statvfs stat {};
  OURO_TRY(to_status(executor.call([&] { return from_libc(::fstatvfs(inode.fd(), &stat)); })));
  return stat;
}

Result<std::size_t> Tree::getxattr(Executor& executor, NodeId node, const char* name,
                                   std::span<std::byte> out) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  return to_size(sys::getxattr(executor, inode.fd(), name, out));
}

Result<std::size_t> Tree::listxattr(Executor& executor, NodeId node, const Caller& caller,
                                    std::span<std::byte> out) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  const int fd = inode.fd();
  std::array<std::byte, kUsualListBytes> usual;
  const auto copy = [&](std::span<const std::byte> list) {
    return copy_names(list, trusted_for(caller, list), out);
  };
  const loop::KernelResult bytes = sys::listxattr(executor, fd, usual);
  if (bytes >= 0) return copy(std::span(usual).first(static_cast<std::size_t>(bytes)));
  if (bytes != -ERANGE) return to_size(bytes);
  const auto longest = std::make_unique_for_overwrite<std::byte[]>(XATTR_LIST_MAX);
  const auto all = to_size(sys::listxattr(executor, fd, {longest.get(), XATTR_LIST_MAX}));
  if (all) return copy({longest.get(), *all});
  // KERNEL: nobody can read a longer list, only ask for its size. The client makes E2BIG of ERANGE
  // where the caller's buffer is the longest.
  if (all.error() != loop::Errno(E2BIG)) return all;
  if (out.empty()) return to_size(sys::listxattr(executor, fd, {}));
  return fail(ERANGE);
}

Status Tree::setxattr(Executor& executor, NodeId node, const char* name,
                      std::span<const std::byte> value, int flags, const SetIdKiller& killer,
                      const Caller& caller) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  const auto identity =
      killer ? killing_credentials(killer, inode.fd()) : Credentials::payer(caller);
  return to_status(
      sys::setxattr(executor, inode.fd(), name, value, flags, identity ? &*identity : nullptr));
}

Status Tree::removexattr(Executor& executor, NodeId node, const char* name) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  return to_status(sys::removexattr(executor, inode.fd(), name));
}

}  // namespace ouro::passthrough
