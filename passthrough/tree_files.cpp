// Operations on files: opening and making them, and what is done by an open file's handle.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "passthrough/allowed_ioctls.hpp"
#include "passthrough/syscalls.hpp"
#include "passthrough/tree.hpp"

namespace ouro::passthrough {
namespace {

using loop::fail;
using loop::from_libc;
using loop::to_status;
using loop::UniqueFd;

// What a backing descriptor takes over of the client's flags. O_APPEND and O_DIRECT belong to
// single requests (see FileHandle; reopen_for() has the exception), O_NONBLOCK would keep the ring
// from waiting, and what the kernel's client adds for its own use (FMODE_EXEC) is EINVAL to
// openat2().
constexpr int kBackingFlags = O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME;

int buffered_flags(int flags, WriteBack write_back) {
  const int backing = flags & kBackingFlags;
  // The kernel's client reads the rest of a page before it writes a part of it.
  const bool widen = write_back == WriteBack::kOn && (flags & O_ACCMODE) == O_WRONLY;
  return widen ? (backing & ~O_ACCMODE) | O_RDWR : backing;
}

// Only regular files are ever opened: a device or FIFO could block, or act.
Status check_regular(mode_t type) {
  if (S_ISREG(type)) return {};
  if (S_ISDIR(type)) return fail(EISDIR);
  return fail(S_ISLNK(type) ? ELOOP : ENXIO);
}

int access_mask(int flags) {
  const int access = flags & O_ACCMODE;
  int mask = access == O_WRONLY ? W_OK : access == O_RDONLY ? R_OK : R_OK | W_OK;
  if ((flags & O_TRUNC) != 0) mask |= W_OK;
  return mask;
}

}  // namespace

Result<FileHandleId> Tree::open(Executor& executor, NodeId node, int flags,
                                const SetIdKiller& killer) {
  OURO_TRY_ASSIGN(const PinnedInode inode, pin(executor, node));
  OURO_TRY(check_regular(inode->type));
  OURO_TRY(check_room(DescriptorBudget::Use::kFile));
  const int path_fd = inode.fd();
  // First, because a file system without direct I/O must not have truncated the file.
  OURO_TRY_ASSIGN(UniqueFd direct, open_direct(executor, path_fd, flags));
  const auto killing = (flags & O_TRUNC) != 0 ? killing_credentials(killer, path_fd) : std::nullopt;
  const auto open_buffered = [&](WriteBack write_back) {
    const int open_flags = buffered_flags(flags, write_back) | (flags & O_TRUNC);
    return reopen_for(executor, path_fd, flags, open_flags, killing ? &*killing : nullptr);
  };
  std::optional<ContentChange> change;
  if ((flags & O_TRUNC) != 0) change.emplace(*inode, path_fd);
  auto buffered = open_buffered(options_.write_back);
  if (!buffered && buffered.error() == loop::Errno(EACCES) &&
      options_.write_back == WriteBack::kOn) {
    // A plain user's daemon may write a file that it must not read.
    buffered = open_buffered(WriteBack::kOff);
  }
  if (!buffered) return tl::unexpected(buffered.error());
  const FileSystemKind kind = kinds_.kind_of(executor, inode->key.device, path_fd);
  return insert(node, inode.ref(), *std::move(buffered), std::move(direct), kind);
}

FileHandleId Tree::insert(NodeId node, InodeRef inode, UniqueFd buffered, UniqueFd direct,
                          FileSystemKind kind) {
  budget_.note(buffered.get());
  if (options_.watches_content && inode->content) {
    inode->content->begin(node);
    inode->content->look(buffered.get());
  }
  return files_.insert(
      std::make_shared<FileHandle>(std::move(inode), std::move(buffered), std::move(direct), kind));
}

Result<UniqueFd> Tree::reopen_for(Executor& executor, int fd, int client_flags, int backing_flags,
                                  const Credentials* credentials) {
  auto opened = reopen(executor, fd, backing_flags, credentials);
  if (opened || opened.error() != loop::Errno(EPERM) || (client_flags & O_APPEND) == 0) {
    return opened;
  }
  // An append-only inode (chattr +a) is opened for appending or not at all.
  return reopen(executor, fd, backing_flags | O_APPEND, credentials);
}

Result<UniqueFd> Tree::open_direct(Executor& executor, int fd, int flags) {
  if ((flags & O_DIRECT) == 0) return UniqueFd();
  auto direct = reopen_for(executor, fd, flags, (flags & kBackingFlags) | O_DIRECT);
  // Permissions are the business of the other descriptor: its opener may have just made the file
  // with a mode that does not let anyone open it again.
  if (!direct && direct.error() == loop::Errno(EACCES)) return UniqueFd();
  return direct;
}

Result<CreatedFile> Tree::create(Executor& executor, NodeId parent, const char* name, int flags,
                                 const Creation& creation, const SetIdKiller& killer) {
  OURO_TRY(check_name(name));
  OURO_TRY(check_room(DescriptorBudget::Use::kFile));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  const Credentials owner = Credentials::owner(creation.caller);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(buffered_flags(flags, options_.write_back)) | O_CREAT |
              O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  OURO_TRY_ASSIGN(const mode_t mode, effective_mode(executor, directory, creation));
  how.mode = mode & 07777U;
  const loop::KernelResult fd = sys::openat2(executor, directory.fd(), name, how, &owner);
  if (fd == -EEXIST && (flags & O_EXCL) == 0) {
    return open_existing(executor, directory, name, flags, creation.caller, killer);
  }
  OURO_TRY_ASSIGN(UniqueFd buffered, to_fd(fd));
  return adopt(executor, std::move(buffered), flags);
}

Result<CreatedFile> Tree::open_existing(Executor& executor, const PinnedInode& directory,
                                        const char* name, int flags, const Caller& caller,
                                        const SetIdKiller& killer) {
  CreatedFile file;
  OURO_TRY_ASSIGN(file.entry, lookup_in(executor, directory, name));
  // KERNEL: the client takes the file for new and checks no permission, so it is done here. Where
  // the answer is no, or not ours to give, ESTALE makes the client look the name up anew and open
  // what it finds in the ordinary way.
  if (!S_ISREG(file.entry.stat.stx_mode) ||
      !access(executor, file.entry.node, access_mask(flags), caller)) {
    inodes_.forget(file.entry.node, 1);
    return fail(ESTALE);
  }
  const auto handle = open(executor, file.entry.node, flags, killer);
  if (!handle) {
    inodes_.forget(file.entry.node, 1);
    return tl::unexpected(handle.error());
  }
  file.handle = *handle;
  return file;
}

Result<CreatedFile> Tree::tmpfile(Executor& executor, NodeId parent, int flags,
                                  const Creation& creation) {
  OURO_TRY(check_room(DescriptorBudget::Use::kFile));
  OURO_TRY_ASSIGN(const PinnedInode directory, pin(executor, parent));
  const Credentials owner = Credentials::owner(creation.caller);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(buffered_flags(flags, options_.write_back)) | O_TMPFILE |
              (static_cast<unsigned>(flags) & O_EXCL) | O_CLOEXEC;
  OURO_TRY_ASSIGN(const mode_t mode, effective_mode(executor, directory, creation));
  how.mode = mode & 07777U;
  OURO_TRY_ASSIGN(UniqueFd buffered,
                  to_fd(sys::openat2(executor, directory.fd(), ".", how, &owner)));
  return adopt(executor, std::move(buffered), flags);
}

Result<CreatedFile> Tree::adopt(Executor& executor, UniqueFd buffered, int flags) {
  OURO_TRY_ASSIGN(UniqueFd direct, open_direct(executor, buffered.get(), flags));
  OURO_TRY_ASSIGN(UniqueFd path_fd, reopen(executor, buffered.get(), O_PATH));
  CreatedFile file;
  OURO_TRY_ASSIGN(file.entry, intern(executor, std::move(path_fd)));
  // An error: forgotten meanwhile, by a broken client.
  OURO_TRY_ASSIGN(InodeRef inode, inodes_.find(file.entry.node));
  const FileSystemKind kind = kinds_.kind_of(executor, inode->key.device, buffered.get());
  file.handle =
      insert(file.entry.node, std::move(inode), std::move(buffered), std::move(direct), kind);
  return file;
}

std::shared_ptr<ContentHistory> Tree::look_at_content(Executor& executor, NodeId node) {
  if (!options_.watches_content) return nullptr;
  const auto inode = pin(executor, node);
  if (!inode || !(*inode)->content || (*inode)->content->node() == 0) return nullptr;
  (*inode)->content->look(inode->fd());
  return (*inode)->content;
}

bool Tree::changes_unseen(NodeId node) const {
  if (!options_.gives_files) return false;
  const auto inode = inodes_.find(node);
  return inode && (*inode)->io_mode && (*inode)->io_mode->changes_unseen();
}

bool Tree::take_watch(std::int64_t now_ns, std::int64_t period_ns) {
  std::int64_t watched_ns = watched_ns_.load();
  return now_ns - watched_ns >= period_ns / 2 &&
         watched_ns_.compare_exchange_strong(watched_ns, now_ns);
}

std::vector<NodeId> Tree::open_nodes() const {
  std::vector<NodeId> nodes;
  files_.for_each([&nodes](const FileHandle& file) {
    const auto& content = file.inode().content;
    if (content && content->node() != 0) nodes.push_back(content->node());
  });
  std::ranges::sort(nodes);
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

Result<std::shared_ptr<FileHandle>> Tree::file(FileHandleId handle) const {
  auto file = files_.find(handle);
  if (!file) return fail(EBADF);
  return file;
}

Status Tree::flush(Executor& executor, FileHandleId handle) {
  OURO_TRY_ASSIGN(const auto open_file, file(handle));
  return to_status(executor.call([&]() -> loop::KernelResult {
    const int duplicate = ::fcntl(open_file->buffered_fd(), F_DUPFD_CLOEXEC, 0);
    // A lack of descriptors is ours: nothing of the file was lost.
    return duplicate < 0 ? 0 : from_libc(::close(duplicate));
  }));
}

Status Tree::fallocate(Executor& executor, FileHandleId handle, int mode, std::int64_t offset,
                       std::int64_t length, const SetIdKiller& killer) {
  OURO_TRY_ASSIGN(const auto open_file, file(handle));
  const auto killing = unflagged_killing_credentials(killer, open_file->buffered_fd());
  const ContentChange change(open_file->inode(), open_file->buffered_fd());
  return to_status(sys::fallocate(executor, open_file->buffered_fd(), mode, offset, length,
                                  killing ? &*killing : nullptr));
}

Result<std::int64_t> Tree::lseek(Executor& executor, FileHandleId handle, std::int64_t offset,
                                 int whence) {
  OURO_TRY_ASSIGN(const auto open_file, file(handle));
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(EINVAL);
  return loop::to_result(
      executor.call([&] { return from_libc(::lseek(open_file->buffered_fd(), offset, whence)); }));
}

Result<std::size_t> Tree::copy_file_range(Executor& executor, FileHandleId in,
                                          std::int64_t in_offset, FileHandleId out,
                                          std::int64_t out_offset, std::size_t length,
                                          unsigned flags, const SetIdKiller& killer) {
  OURO_TRY_ASSIGN(const auto source, file(in));
  OURO_TRY_ASSIGN(const auto target, file(out));
  off64_t from = in_offset;
  off64_t to = out_offset;
  const auto killing = unflagged_killing_credentials(killer, target->buffered_fd());
  const ContentChange change(target->inode(), target->buffered_fd());
  OURO_TRY_ASSIGN(
      const std::int64_t copied, loop::to_result(executor.call(killing ? &*killing : nullptr, [&] {
        return from_libc(
            ::copy_file_range(source->opened_fd(), &from, target->opened_fd(), &to, length, flags));
      })));
  return static_cast<std::size_t>(copied);
}

Result<std::size_t> Tree::ioctl(Executor& executor, int fd, unsigned command,
                                std::span<const std::byte> in, std::span<std::byte> out) {
  const auto* const allowed = std::ranges::find(kAllowedIoctls, command, &AllowedIoctl::command);
  if (allowed == kAllowedIoctls.end()) return fail(ENOTTY);
  if ((allowed->sets ? in.size() : out.size()) < allowed->bytes) return fail(EINVAL);
  // Room for file systems that fill the size in the command's number.
  alignas(8) std::array<std::byte, std::max(sizeof(fsxattr), sizeof(long))> argument{};
  if (allowed->sets) std::ranges::copy(in.first(allowed->bytes), argument.begin());
  OURO_TRY(
      to_status(executor.call([&] { return from_libc(::ioctl(fd, command, argument.data())); })));
  if (allowed->sets) return std::size_t{0};
  std::ranges::copy_n(argument.begin(), static_cast<std::ptrdiff_t>(allowed->bytes), out.begin());
  return allowed->bytes;
}

}  // namespace ouro::passthrough
