#include "fs/ring_message.hpp"

#include <cstring>

namespace ouro::fs {
namespace {

constexpr std::size_t kMostInFront = sizeof(fuse_in_header) + wire::kRingHeaderBytes;
static_assert(sizeof(wire::RingHeader) + kMostInFront <= SlotMemory::kFrontBytes);

}  // namespace

std::uint64_t RingMessage::unique() const {
  fuse_in_header in;
  std::memcpy(&in, header_.in_out, sizeof in);
  return in.unique;
}

std::optional<std::span<const std::byte>> RingMessage::request() {
  fuse_in_header in;
  std::memcpy(&in, header_.in_out, sizeof in);
  const std::size_t behind = header_.entry.payload_sz;
  if (behind > payload_.size() || in.len < sizeof in + behind) return std::nullopt;
  // KERNEL: how much of the first argument there is, is not sent along.
  const std::size_t argument = in.len - sizeof in - behind;
  if (argument > wire::kRingHeaderBytes) return std::nullopt;
  std::byte* const start = payload_.data() - argument - sizeof in;
  std::memcpy(start, &in, sizeof in);
  std::memcpy(start + sizeof in, header_.op_in, argument);
  return std::span<const std::byte>(start, in.len);
}

void RingMessage::put_reply(std::uint64_t unique, int errno_value, std::size_t payload_bytes) {
  const fuse_out_header out{static_cast<std::uint32_t>(sizeof(fuse_out_header) + payload_bytes),
                            -errno_value, unique};
  std::memcpy(header_.in_out, &out, sizeof out);
  header_.entry.payload_sz = static_cast<std::uint32_t>(payload_bytes);
}

}  // namespace ouro::fs
