// What the kernel's file handle (fh) stands for: an open file, or an open directory.
//
// Any thread. The fd numbers of a FileHandle do not change once they are visible; a DirHandle's
// position is guarded by its lock.
#pragma once

#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "passthrough/credentials.hpp"
#include "passthrough/file_system_kinds.hpp"
#include "passthrough/inode_table.hpp"

namespace ouro::passthrough {

// Whether reads move the access time: the client can change its mind by fcntl(F_SETFL).
enum class AccessTime : std::uint8_t { kMoves, kStays };

// An open file has two descriptors of the same file, because the kernel's FUSE client uses one fh
// for two kinds of I/O: what it does for its page cache (reads, and write-back of cached and
// mapped pages, positional and of any alignment), and what an O_DIRECT caller asked for. So the
// buffered one carries neither O_APPEND nor O_DIRECT, whatever the client's flags are. An
// append-only inode (chattr +a) is the exception: it cannot be opened for writing without O_APPEND,
// and takes no positional write natively either.
class FileHandle {
 public:
  // `direct` may be empty.
  FileHandle(InodeRef inode, loop::UniqueFd buffered, loop::UniqueFd direct,
             FileSystemKind kind = FileSystemKind::kLocal);
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  ~FileHandle();

  [[nodiscard]] const Inode& inode() const { return *inode_; }
  [[nodiscard]] int buffered_fd() const { return buffered_.get(); }
  // Whether the descriptors have O_APPEND, for an append-only inode.
  [[nodiscard]] bool appends_only() const { return appends_only_; }
  // IOSQE_* flags of its transfers.
  // KERNEL: before it tries a transfer without blocking, io_uring asks poll() of files that do not
  // say that they can do so (FMODE_NOWAIT). FUSE is such a file system, and its poll() is a request
  // to its daemon that the submitting thread would wait for, instead of a kernel worker.
  [[nodiscard]] std::uint8_t sqe_flags() const {
    return kind_ == FileSystemKind::kFuse ? IOSQE_ASYNC : 0;
  }
  // Whether close() can tell an error that nothing else has told.
  [[nodiscard]] bool close_can_fail() const { return kind_ != FileSystemKind::kLocal; }
  // Whether to close it cannot take long: nothing was written by it, and no file ends with it.
  [[nodiscard]] bool closes_at_once() const;
  // The O_DIRECT descriptor, opened at the first use (fcntl(F_SETFL, O_DIRECT) after open).
  // Errors: EINVAL where the file system has no direct I/O, EMFILE, and EACCES where a plain
  // user's daemon may not open the file a second time.
  [[nodiscard]] loop::Result<int> direct_fd();
  // The descriptor with the flags that the file was opened with, for requests that do not say
  // which flags it has now (COPY_FILE_RANGE).
  [[nodiscard]] int opened_fd();
  void set_access_time(AccessTime wanted);
  // Who has opened it: the client does not say whose pages it writes back, only by which handle.
  void set_opener(uid_t uid, gid_t gid) { opener_ = {uid, gid}; }
  // The client reads and writes it by its pages. Once, by who opens it.
  void set_cached();
  [[nodiscard]] bool is_cached() const { return cached_; }
  // The way of its data, once, before anybody uses it.
  void set_io_mode(IoMode::Share share);
  // Whose share of the disk such pages take; empty: the daemon's own.
  [[nodiscard]] std::optional<Credentials> payer() const;

 private:
  // Aligned, or clang 14 calls a library for what is one instruction.
  struct alignas(8) Opener {
    uid_t uid = 0;
    gid_t gid = 0;
  };

  const InodeRef inode_;
  const loop::UniqueFd buffered_;
  const int opened_flags_;  // of buffered_, as F_GETFL says
  const bool appends_only_;
  const bool opened_direct_;
  const FileSystemKind kind_;
  std::atomic<AccessTime> access_time_;
  std::atomic<Opener> opener_{};
  bool cached_ = false;
  std::mutex mutex_;
  loop::UniqueFd direct_;  // guarded by mutex_; never replaced once set
  IoMode::Share io_mode_;  // guarded by mutex_; given up first of all
};

class DirHandle {
 public:
  DirHandle(InodeRef inode, loop::UniqueFd fd);

  [[nodiscard]] const Inode& inode() const { return *inode_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Fills `out` with linux_dirent64 records that begin at stream position `offset` (0, or a
  // d_off of an earlier record) and returns the bytes, 0 at the end. Offset 0 reads anew.
  // Errors: EINVAL for an offset that never was one, ENOENT for a removed directory, EIO.
  [[nodiscard]] loop::KernelResult read(std::int64_t offset, std::span<std::byte> out,
                                        AccessTime access_time = AccessTime::kMoves);

 private:
  static constexpr std::int64_t kUnknown = -1;

  void set_access_time(AccessTime wanted);  // with mutex_ held

  const InodeRef inode_;
  const loop::UniqueFd fd_;
  std::mutex mutex_;
  std::int64_t position_ = 0;  // of fd_; guarded by mutex_
  AccessTime access_time_;     // the same
};

}  // namespace ouro::passthrough
