// One request of the kernel in its preallocated slot: header and arguments as received, the place
// for the reply, and the storage of the operation that answers it.
//
// Owned by its transport, which hands it to a RequestSink and takes it back with reply() or
// drop(). Belongs to the transport's thread, but for the worker that runs a pooled one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "fs/protocol.hpp"
#include "loop/worker_pool.hpp"
#include "passthrough/content_history.hpp"
#include "passthrough/credentials.hpp"
#include "passthrough/transfer_op.hpp"

namespace ouro::fs {

struct OpcodeRow;
class Server;

class Request : private passthrough::TransferOp::Listener, private loop::Job {
 public:
  [[nodiscard]] const fuse_in_header& header() const { return header_; }
  // What follows the header, without extensions. May overlap payload(): read it before writing.
  [[nodiscard]] std::span<const std::byte> arguments() const { return arguments_; }
  // All that was received. Valid until something is written to payload().
  [[nodiscard]] std::span<const std::byte> message() const {
    return {arguments_.data() - sizeof header_, header_.len};
  }
  // Where the data of the reply goes; page aligned, at least max_write bytes.
  [[nodiscard]] std::span<std::byte> payload() { return payload_; }
  // Data is about to go directly between payload() and a device, `bytes` of it.
  void expect_direct(std::size_t bytes) {
    if (bytes >= kManyPages && !std::exchange(has_huge_pages_, true)) use_huge_pages();
  }
  // Who asked, with the extra group that the request carries, if any.
  [[nodiscard]] passthrough::Caller caller() const;

  // The reply as one struct, all zero. Overwrites the arguments.
  template <typename T>
  [[nodiscard]] T& reply_struct() {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memset(payload_.data(), 0, sizeof(T));
    return *reinterpret_cast<T*>(payload_.data());
  }

  // Sets what reply() sends: `payload_bytes` of payload(), or an error.
  void succeed(std::size_t payload_bytes);
  void fail(int errno_value);
  [[nodiscard]] int error() const { return error_; }
  // Somebody else replies, in his own time and maybe already: the slot is given up without.
  void leave_open() { left_open_ = true; }
  // Not here: the handler is to be run again, in a worker. Before anything is written to payload().
  void ask_for_worker() { wants_worker_ = true; }
  [[nodiscard]] std::span<const std::byte> reply_payload() const {
    return payload_.first(reply_bytes_);
  }

  [[nodiscard]] passthrough::TransferOp& transfer() { return transfer_; }
  // Whose identity transfer() runs under, for as long as it runs.
  [[nodiscard]] std::optional<passthrough::Credentials>& credentials() { return credentials_; }
  // Whether a WRITE clears set-id bits of its file.
  [[nodiscard]] bool changes_mode() const { return changes_mode_; }
  void set_changes_mode(bool changes) { changes_mode_ = changes; }
  // Of the file that a WRITE changes without going by the client's pages; null for others.
  [[nodiscard]] const std::shared_ptr<passthrough::ContentHistory>& goes_past() const {
    return goes_past_;
  }
  // Whether who sent it may hold such pages locked until the reply.
  enum class PageLocks : std::uint8_t { kNone, kPossible };
  [[nodiscard]] bool may_lock_pages() const { return page_locks_ == PageLocks::kPossible; }
  void set_goes_past(std::shared_ptr<passthrough::ContentHistory> content, PageLocks locks) {
    goes_past_ = std::move(content);
    page_locks_ = locks;
  }

 protected:
  explicit Request(std::span<std::byte> payload) : payload_(payload), transfer_(*this) {}
  ~Request() = default;
  // Takes in a message of the kernel. False if its header is not of a whole message.
  [[nodiscard]] bool receive(std::span<const std::byte> message);

 private:
  friend class Server;

  void transfer_done(loop::KernelResult result) override;
  void run() override;
  void done() override;

  // From here on fewer pieces of memory pay (see "What was measured" in ARCHITECTURE.md).
  static constexpr std::size_t kManyPages = std::size_t{16} << 10;

  // The slot's memory, from now on; at most once.
  virtual void use_huge_pages() {}

  enum class Stage : std::uint8_t { kIdle, kDeferred, kWaiting, kTransfer, kPooled };

  fuse_in_header header_{};
  std::span<const std::byte> arguments_;
  std::span<const std::byte> extensions_;
  const std::span<std::byte> payload_;
  int error_ = 0;
  std::size_t reply_bytes_ = 0;
  bool left_open_ = false;
  bool wants_worker_ = false;
  bool has_huge_pages_ = false;
  bool replied_ = false;  // by the worker that ran it

  // The server's bookkeeping.
  passthrough::TransferOp transfer_;
  std::optional<passthrough::Credentials> credentials_;
  bool changes_mode_ = false;
  std::shared_ptr<passthrough::ContentHistory> goes_past_;
  PageLocks page_locks_ = PageLocks::kNone;
  Server* server_ = nullptr;
  const OpcodeRow* row_ = nullptr;
  Stage stage_ = Stage::kIdle;
  bool interrupted_ = false;        // while a worker ran it
  bool may_end_late_ = false;       // if a worker has replied: its slot is not needed
  Request* next_ = nullptr;         // on a FIFO of the server
  Request* next_active_ = nullptr;  // in the server's list of requests in progress
  Request* previous_active_ = nullptr;
};

}  // namespace ouro::fs
