#include "passthrough/tree.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cstring>
#include <utility>

#include "passthrough/syscalls.hpp"

namespace ouro::passthrough {
namespace {

using loop::fail;
using loop::UniqueFd;

constexpr std::size_t kLongestName = 255;
constexpr std::uint64_t kPathFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;

// What is opened by way of /proc must be what was meant: a false /proc, or one of another pid
// namespace, would hand out other files. Errors: ENOTSUP.
Result<UniqueFd> open_proc_fds(int root_fd, const struct ::statx& root) {
  UniqueFd proc_fds(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct ::statfs file_system {};
  if (!proc_fds || ::fstatfs(proc_fds.get(), &file_system) < 0 ||
      file_system.f_type != PROC_SUPER_MAGIC) {
    return fail(ENOTSUP);
  }
  const UniqueFd again(::openat(proc_fds.get(), ProcPath(root_fd).name(), O_PATH | O_CLOEXEC));
  struct ::statx stat {};
  if (!again || ::statx(again.get(), "", AT_EMPTY_PATH, kEntryMask, &stat) < 0 ||
      key_of(stat) != key_of(root)) {
    return fail(ENOTSUP);
  }
  return proc_fds;
}

}  // namespace

FileKey key_of(const struct ::statx& stat) {
  return {::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino, stat.stx_mnt_id};
}

Result<std::unique_ptr<Tree>> Tree::create(UniqueFd root, const Options& options) {
  struct ::statx stat {};
  if (::statx(root.get(), "", AT_EMPTY_PATH, kEntryMask, &stat) < 0) return fail(errno);
  if (!S_ISDIR(stat.stx_mode)) return fail(ENOTDIR);
  OURO_TRY_ASSIGN(UniqueFd proc_fds, open_proc_fds(root.get(), stat));
  Inode inode{key_of(stat), stat.stx_mode & mode_t{S_IFMT}, std::move(root)};
  std::unique_ptr<Tree> tree(new Tree(std::move(inode), std::move(proc_fds), options));
  if (!options.file_handles) {
    tree->handles_ = fail(EOPNOTSUPP);
  } else if (options.max_descriptors != kNoLimit) {
    // KERNEL(5.8): STATX_MNT_ID, without which a handle could be taken to the wrong mount.
    const bool tells_mounts = (stat.stx_mask & STATX_MNT_ID) != 0;
    OURO_TRY_ASSIGN(const InodeRef held, tree->inodes_.find(kRootNode));
    tree->handles_ = tells_mounts ? tree->learn_mount(*held) : Status(fail(ENOSYS));
    if (tree->handles_ && options.is_whole) tree->try_durable_ids(*held);
  }
  return tree;
}

Tree::Tree(Inode root, UniqueFd proc_fds, const Options& options)
    : options_(options),
      root_fd_(root.path_fd.get()),
      proc_fds_(std::move(proc_fds)),
      devices_(root.key.device),
      kinds_(root.key.device, root.path_fd.get()),
      budget_(options.max_open_files, options.open_refused),
      inodes_(std::move(root), options.watermark, options.max_descriptors, budget_.reserve_begin(),
              options.gives_files ? IoModes::kKept : IoModes::kNone) {}

Status Tree::check_name(const char* name) {
  const std::size_t length = ::strnlen(name, kLongestName + 1);
  if (length > kLongestName) return fail(ENAMETOOLONG);
  if (length == 0 || std::memchr(name, '/', length) != nullptr) return fail(EINVAL);
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) return fail(EINVAL);
  return {};
}

Result<Entry> Tree::intern(Executor& executor, UniqueFd path_fd) {
  Entry entry;
  OURO_TRY(loop::to_status(sys::statx(executor, path_fd.get(), 0, kEntryMask, entry.stat)));
  const FileKey key = key_of(entry.stat);
  OURO_TRY(check_truth(executor, key.device, path_fd.get()));
  entry.stat.stx_ino = devices_.shown_inode(key.device, key.inode);
  OURO_TRY_ASSIGN(entry.node,
                  hold(executor, {key, entry.stat.stx_mode & mode_t{S_IFMT}, std::move(path_fd)}));
  entry.changes_unseen = changes_unseen(entry.node);
  return entry;
}

Result<UniqueFd> Tree::open_path(Executor& executor, const PinnedInode& parent, const char* name) {
  open_how how{};
  how.flags = kPathFlags;
  how.resolve = options_.submounts == Submounts::kFollow ? 0 : RESOLVE_NO_XDEV;
  const loop::KernelResult fd = sys::openat2(executor, parent.fd(), name, how);
  if (fd == -EXDEV && options_.submounts == Submounts::kAvoidOwn) {
    return cross_mount(executor, parent, name);
  }
  return to_fd(fd);
}

Result<UniqueFd> Tree::cross_mount(Executor& executor, const PinnedInode& parent,
                                   const char* name) {
  open_how how{};
  how.flags = kPathFlags;
  OURO_TRY_ASSIGN(UniqueFd fd, to_fd(sys::openat2(executor, parent.fd(), name, how)));
  // If this is our own mount, whoever asks it anything waits for an answer that only we can give.
  // KERNEL: an O_PATH open sends FUSE no request, and statx(AT_STATX_DONT_SYNC) is answered from
  // what the kernel has: the mount id and the device are always right.
  struct ::statx stat {};
  OURO_TRY(loop::to_status(sys::statx(executor, fd.get(), AT_STATX_DONT_SYNC, STATX_MNT_ID, stat)));
  const FileKey key = key_of(stat);
  if (own_mount_.covered && (stat.stx_mask & STATX_MNT_ID) != 0 && key.mount == own_mount_.mount) {
    how.flags |= O_DIRECTORY;
    return to_fd(sys::openat2(executor, own_mount_.covered.get(), ".", how));
  }
  if (key.device == own_mount_.device) return fail(ELOOP);
  return fd;
}

Result<UniqueFd> Tree::reopen(Executor& executor, int fd, int flags,
                              const Credentials* credentials) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  const ProcPath path(fd);
  return to_fd(sys::openat2(executor, proc_fds_.get(), path.name(), how, credentials));
}

Result<mode_t> Tree::effective_mode(Executor& executor, const PinnedInode& parent,
                                    const Creation& creation) {
  if (creation.umask == 0) return creation.mode;
  const loop::KernelResult acl_bytes =
      sys::getxattr(executor, parent.fd(), "system.posix_acl_default", {});
  if (acl_bytes == -EINTR) return fail(EINTR);
  return acl_bytes > 0 ? creation.mode : creation.mode & ~creation.umask;
}

}  // namespace ouro::passthrough
