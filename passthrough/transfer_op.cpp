#include "passthrough/transfer_op.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace ouro::passthrough {
namespace {

using loop::KernelResult;

constexpr std::int64_t kEndOfOffsets = std::numeric_limits<std::int64_t>::max();
// KERNEL: MAX_RW_COUNT, what one read or write moves at most.
constexpr std::size_t kMaxBytes = 0x7ffff000;

std::uint32_t transfer_bytes(std::size_t size) {
  return static_cast<std::uint32_t>(std::min(size, kMaxBytes));
}

// -1 would mean "at the file's own position" to the kernel; any other negative offset is EINVAL.
std::int64_t checked(std::int64_t offset) {
  return offset == -1 ? std::numeric_limits<std::int64_t>::min() : offset;
}

}  // namespace

void TransferOp::start_read(AsyncExecutor& executor, std::shared_ptr<FileHandle> file,
                            Access access, std::span<std::byte> out, std::int64_t offset) {
  data_ = out.data();
  size_bytes_ = transfer_bytes(out.size());
  // No file has bytes beyond 8 EiB - 1, but the page that ends there does, and to read it would
  // be EINVAL.
  if (offset >= 0 && size_bytes_ > kEndOfOffsets - offset) {
    size_bytes_ = static_cast<std::uint32_t>(kEndOfOffsets - offset);
  }
  offset_ = checked(offset);
  rw_flags_ = 0;
  credentials = nullptr;
  start(executor, std::move(file), Kind::kRead, access);
}

void TransferOp::start_write(AsyncExecutor& executor, std::shared_ptr<FileHandle> file,
                             Access access, std::span<const std::byte> data, std::int64_t offset,
                             std::uint32_t rw_flags, const Credentials* write_credentials,
                             CutShort cut_short) {
  cut_short_ = cut_short;
  // Only read from: the member serves both directions.
  data_ = const_cast<std::byte*>(data.data());
  size_bytes_ = transfer_bytes(data.size());
  offset_ = (rw_flags & RWF_APPEND) != 0 ? 0 : checked(offset);
  rw_flags_ = rw_flags;
  credentials = write_credentials;
  change_.emplace(file->inode(), file->buffered_fd());
  start(executor, std::move(file), Kind::kWrite, access);
}

void TransferOp::start_sync(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Sync sync) {
  data_ = nullptr;
  size_bytes_ = 0;
  offset_ = 0;
  rw_flags_ = 0;
  credentials = nullptr;
  start(executor, std::move(file), sync == Sync::kAll ? Kind::kSync : Kind::kDataSync,
        Access::kBuffered);
}

void TransferOp::start(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Kind kind,
                       Access access) {
  executor_ = &executor;
  file_ = std::move(file);
  kind_ = kind;
  access_ = access;
  fd_ = file_->buffered_fd();
  if (access == Access::kDirect) {
    // Where there is no such descriptor to be had (no direct I/O, no room for one more), the page
    // cache serves: slower, with the same bytes.
    if (const auto direct = file_->direct_fd()) fd_ = *direct;
  }
  abandoned_ = false;
  done_bytes_ = 0;
  executor.submit(*this);
}

void TransferOp::abandon() {
  if (executor_ == nullptr) return;
  abandoned_ = true;
  executor_->cancel(*this);
}

std::uint8_t TransferOp::opcode() const {
  if (kind_ == Kind::kRead) return IORING_OP_READ;
  if (kind_ == Kind::kWrite) return IORING_OP_WRITE;
  return IORING_OP_FSYNC;
}

void TransferOp::prepare(io_uring_sqe& sqe) {
  const auto offset = static_cast<std::uint64_t>(offset_ + done_bytes_);
  if (kind_ == Kind::kRead) {
    ::io_uring_prep_read(&sqe, fd_, at(), left(), offset);
  } else if (kind_ == Kind::kWrite) {
    ::io_uring_prep_write(&sqe, fd_, at(), left(), offset);
    sqe.rw_flags = static_cast<__kernel_rwf_t>(rw_flags_);
  } else {
    ::io_uring_prep_fsync(&sqe, fd_, kind_ == Kind::kDataSync ? IORING_FSYNC_DATASYNC : 0);
  }
  sqe.flags = static_cast<__u8>(sqe.flags | file_->sqe_flags());
}

KernelResult TransferOp::call() {
  const std::int64_t offset = offset_ + done_bytes_;
  switch (kind_) {
    case Kind::kRead:
      return loop::from_libc(::pread(fd_, at(), left(), offset));
    case Kind::kWrite: {
      const iovec vector{at(), left()};
      return loop::from_libc(::pwritev2(fd_, &vector, 1, offset, static_cast<int>(rw_flags_)));
    }
    case Kind::kSync:
      return loop::from_libc(::fsync(fd_));
    case Kind::kDataSync:
      return loop::from_libc(::fdatasync(fd_));
  }
  return -EINVAL;
}

void TransferOp::on_cqe(const loop::Cqe& cqe) {
  KernelResult result = cqe.res;
  // KERNEL: EAGAIN where a file cannot be waited for; ECANCELED without a cancellation where no
  // kernel worker could be made (RLIMIT_NPROC, pids.max). The system call has no such limits.
  if (!abandoned_ && (result == -EAGAIN || result == -ECANCELED)) {
    const ScopedCredentials scope(executor_->identity(), credentials);
    result = call();
  }
  if (!absorb(result)) return executor_->submit(*this);
  finish(outcome_);
}

bool TransferOp::absorb(KernelResult result) {
  if (result > 0) done_bytes_ += static_cast<std::uint32_t>(result);
  if (result == 0 || (result > 0 && left() == 0)) {
    outcome_ = done_bytes_;
    return true;
  }
  const bool short_transfer = result > 0;
  if (!abandoned_ && (short_transfer || result == -EINTR)) return false;

  const bool cut_off = short_transfer || result == -ECANCELED || result == -EAGAIN;
  const KernelResult error = abandoned_ && cut_off ? -EINTR : result;
  // To the page cache of the kernel's client a part of a read means the end of the file, so that
  // what follows would become zeros. Everybody else is told what was done.
  const bool tells_part =
      kind_ == Kind::kWrite ? cut_short_ == CutShort::kTellsBytes : access_ == Access::kDirect;
  outcome_ = done_bytes_ > 0 && tells_part ? done_bytes_ : error;
  return true;
}

void TransferOp::finish(KernelResult result) {
  executor_ = nullptr;
  credentials = nullptr;
  change_.reset();  // before the reply, which lets others go on
  file_.reset();
  listener_.transfer_done(result);  // may start this again
}

}  // namespace ouro::passthrough
