// One read, write or fsync of an open file, finished: short transfers are continued, EINTR is
// repeated, EAGAIN and an ECANCELED that nobody asked for are done by the system call itself.
//
// Part of a request's slot, used again and again without allocation. Home thread of its executor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "passthrough/executor.hpp"
#include "passthrough/file_handle.hpp"

namespace ouro::passthrough {

class TransferOp final : public Op {
 public:
  // Told once per start_*(), in a dispatch phase: bytes transferred (0 for fsync), or -errno.
  class Listener {
   public:
    virtual void transfer_done(loop::KernelResult result) = 0;

   protected:
    ~Listener() = default;
  };

  explicit TransferOp(Listener& listener) : listener_(listener) {}

  // How the kernel's FUSE client asked for the data (see FileHandle).
  enum class Access : std::uint8_t { kBuffered, kDirect };
  enum class Sync : std::uint8_t { kAll, kDataOnly };
  // What a write that was cut short by an error tells: how much was written, or the error, for a
  // requester who would take any number for all of it.
  enum class CutShort : std::uint8_t { kTellsBytes, kTellsError };

  // Fewer bytes than `out` holds only at the end of the file, or if an error followed them on a
  // direct read. The file stays open meanwhile.
  void start_read(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Access access,
                  std::span<std::byte> out, std::int64_t offset);
  // `rw_flags`: RWF_* (RWF_APPEND ignores the offset). Fewer bytes than given only if an error
  // (a full disk) followed them. `credentials` may be null; it must outlive the operation.
  void start_write(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Access access,
                   std::span<const std::byte> data, std::int64_t offset, std::uint32_t rw_flags,
                   const Credentials* write_credentials,
                   CutShort cut_short = CutShort::kTellsBytes);
  void start_sync(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Sync sync);
  // The requester goes away (a fatal signal): end early with -EINTR if the kernel can.
  void abandon();

  [[nodiscard]] std::uint8_t opcode() const override;
  void prepare(io_uring_sqe& sqe) override;
  [[nodiscard]] loop::KernelResult call() override;

 private:
  enum class Kind : std::uint8_t { kRead, kWrite, kSync, kDataSync };

  void start(AsyncExecutor& executor, std::shared_ptr<FileHandle> file, Kind kind, Access access);
  void on_cqe(const loop::Cqe& cqe) override;
  // Takes in the result of one attempt; false if there is more to do.
  [[nodiscard]] bool absorb(loop::KernelResult result);
  void finish(loop::KernelResult result);
  [[nodiscard]] std::byte* at() const { return data_ + done_bytes_; }
  [[nodiscard]] std::uint32_t left() const { return size_bytes_ - done_bytes_; }

  Listener& listener_;
  AsyncExecutor* executor_ = nullptr;
  std::shared_ptr<FileHandle> file_;
  std::optional<ContentChange> change_;  // of file_, by a write
  int fd_ = -1;                          // one of file_'s
  Kind kind_ = Kind::kRead;
  Access access_ = Access::kBuffered;
  CutShort cut_short_ = CutShort::kTellsBytes;
  bool abandoned_ = false;
  std::byte* data_ = nullptr;
  std::uint32_t size_bytes_ = 0;
  std::uint32_t done_bytes_ = 0;
  std::int64_t offset_ = 0;
  std::uint32_t rw_flags_ = 0;
  loop::KernelResult outcome_ = 0;
};

}  // namespace ouro::passthrough
