#include "passthrough/file_handle.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "passthrough/syscalls.hpp"

namespace ouro::passthrough {
namespace {

constexpr int kSharedFlags = O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME | O_APPEND;

// getdents64(2)
struct DirRecord {
  std::uint64_t d_ino;
  std::int64_t d_off;
  std::uint16_t d_reclen;
};

// The stream position behind the last of `records`.
std::int64_t end_position(std::span<const std::byte> records) {
  DirRecord last{};
  while (records.size() >= sizeof last) {
    std::memcpy(&last, records.data(), sizeof last);
    if (last.d_reclen == 0 || last.d_reclen >= records.size()) break;
    records = records.subspan(last.d_reclen);
  }
  return last.d_off;
}

// `flags`: what F_GETFL says, or -1.
bool has(int flags, int flag) {
  return flags >= 0 && (flags & flag) != 0;
}

AccessTime access_time_of(int flags) {
  return has(flags, O_NOATIME) ? AccessTime::kStays : AccessTime::kMoves;
}

}  // namespace

FileHandle::FileHandle(InodeRef inode, loop::UniqueFd buffered, loop::UniqueFd direct,
                       FileSystemKind kind)
    : inode_(std::move(inode)),
      buffered_(std::move(buffered)),
      opened_flags_(::fcntl(buffered_.get(), F_GETFL)),
      appends_only_(has(opened_flags_, O_APPEND)),
      opened_direct_(static_cast<bool>(direct)),
      kind_(kind),
      access_time_(access_time_of(opened_flags_)),
      direct_(std::move(direct)) {}

FileHandle::~FileHandle() {
  if (cached_) inode_->content->end_cached_open();
}

void FileHandle::set_cached() {
  if (!inode_->content) return;
  cached_ = true;
  inode_->content->begin_cached_open();
}

bool FileHandle::closes_at_once() const {
  if (kind_ != FileSystemKind::kLocal) return false;
  if (opened_flags_ < 0 || (opened_flags_ & O_ACCMODE) != O_RDONLY) return false;
  struct ::stat stat {};
  return ::fstat(buffered_.get(), &stat) == 0 && stat.st_nlink > 0;
}

std::optional<Credentials> FileHandle::payer() const {
  const Opener opener = opener_;
  return Credentials::payer(opener.uid, opener.gid);
}

void FileHandle::set_io_mode(IoMode::Share share) {
  const std::lock_guard lock(mutex_);
  io_mode_ = std::move(share);
}

loop::Result<int> FileHandle::direct_fd() {
  const std::lock_guard lock(mutex_);
  if (direct_) return direct_.get();
  const int flags = ::fcntl(buffered_.get(), F_GETFL);
  if (flags < 0) return loop::fail(errno);
  loop::UniqueFd fd(
      ::open(ProcPath(buffered_.get()).c_str(), (flags & kSharedFlags) | O_DIRECT | O_CLOEXEC));
  if (!fd) return loop::fail(errno);
  direct_ = std::move(fd);
  return direct_.get();
}

int FileHandle::opened_fd() {
  if (!opened_direct_) return buffered_.get();
  const std::lock_guard lock(mutex_);
  return direct_.get();
}

void FileHandle::set_access_time(AccessTime wanted) {
  if (access_time_.exchange(wanted, std::memory_order_relaxed) == wanted) return;
  const int flag = wanted == AccessTime::kStays ? O_NOATIME : 0;
  // What the client was allowed to set on its file may be refused to us (a plain user's daemon).
  const int flags = ::fcntl(buffered_.get(), F_GETFL);
  if (flags >= 0) ::fcntl(buffered_.get(), F_SETFL, (flags & ~O_NOATIME) | flag);
  const std::lock_guard lock(mutex_);
  const int append = appends_only_ ? O_APPEND : 0;  // which must not be taken away
  if (direct_) ::fcntl(direct_.get(), F_SETFL, O_DIRECT | append | flag);
}

DirHandle::DirHandle(InodeRef inode, loop::UniqueFd fd)
    : inode_(std::move(inode)),
      fd_(std::move(fd)),
      access_time_(access_time_of(::fcntl(fd_.get(), F_GETFL))) {}

void DirHandle::set_access_time(AccessTime wanted) {
  if (access_time_ == wanted) return;
  access_time_ = wanted;
  // The same as for a file: what the client was allowed may be refused to us.
  ::fcntl(fd_.get(), F_SETFL, wanted == AccessTime::kStays ? O_NOATIME : 0);
}

loop::KernelResult DirHandle::read(std::int64_t offset, std::span<std::byte> out,
                                   AccessTime access_time) {
  if (offset < 0) return -EINVAL;
  const std::lock_guard lock(mutex_);
  set_access_time(access_time);
  // Never 0 once something was read, so that reading from the start always seeks: that is when a
  // file system takes notice of what was created meanwhile.
  if (offset != position_) {
    const loop::KernelResult moved = loop::from_libc(::lseek(fd_.get(), offset, SEEK_SET));
    if (moved < 0) {
      position_ = kUnknown;
      return moved;
    }
  }
  const loop::KernelResult bytes =
      loop::from_libc(::syscall(SYS_getdents64, fd_.get(), out.data(), out.size()));
  // KERNEL: ext4 moves to a position of its own at the end, others stay: seek, rather than know.
  position_ = bytes > 0 ? end_position(out.first(static_cast<std::size_t>(bytes))) : kUnknown;
  return bytes;
}

}  // namespace ouro::passthrough
