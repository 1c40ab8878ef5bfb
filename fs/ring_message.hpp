// A request and its reply as FUSE-over-io_uring lays them out: a header that the kernel fills in
// and reads, and beside it the payload. No behaviour beyond that; one thread.
//
// Layout of an entry's memory: [ RingHeader ..... header+args ][ payload pages ... ]. What the
// kernel delivers in pieces is put together just in front of the payload, as a message of the
// channel would lie, so that handlers see no difference: the data of a WRITE begins at the payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/protocol.hpp"
#include "fs/slot_memory.hpp"

namespace ouro::fs {

class RingMessage {
 public:
  // `front`: SlotMemory::kFrontBytes in front of the payload, both borrowed.
  explicit RingMessage(std::byte* front, std::span<std::byte> payload)
      : header_(*reinterpret_cast<wire::RingHeader*>(front)), payload_(payload) {}

  [[nodiscard]] wire::RingHeader& header() { return header_; }
  [[nodiscard]] std::span<std::byte> payload() const { return payload_; }

  // The request that the kernel has filled in, as one message: header and arguments. Nothing if its
  // lengths do not agree with each other or with the buffers.
  [[nodiscard]] std::optional<std::span<const std::byte>> request();
  // The unique id of what was delivered, whatever else is wrong with it.
  [[nodiscard]] std::uint64_t unique() const;
  // What COMMIT_AND_FETCH calls it; 0 before the first request.
  [[nodiscard]] std::uint64_t commit_id() const { return header_.entry.commit_id; }

  // Makes the reply: `payload_bytes` of the payload, or an errno.
  void put_reply(std::uint64_t unique, int errno_value, std::size_t payload_bytes);

 private:
  wire::RingHeader& header_;
  const std::span<std::byte> payload_;
};

}  // namespace ouro::fs
