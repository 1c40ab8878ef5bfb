// FUSE_INIT: the first exchange on a fresh channel, before any loop serves it.
#pragma once

#include <cstdint>
#include <optional>

#include "fs/connection.hpp"
#include "loop/result.hpp"

namespace ouro::fs {

struct HandshakeOptions {
  std::uint32_t max_write_bytes = 1U << 20;          // no more than the kernel's limit of pages
  std::optional<std::uint32_t> max_readahead_bytes;  // unset: as much as the kernel offers
  std::uint64_t extra_flags = 0;      // wanted besides the standing list (CachePolicy::init_flags)
  std::uint32_t max_stack_depth = 1;  // with wire::kPassthrough: 1 or 2
  int timeout_ms = 10'000;
};

// Reads INIT requests from `channel_fd` (non-blocking) until one is accepted and answers it.
// Errors: ETIMEDOUT if none comes, EPROTO for a kernel older than 7.31 or a message that is no
// INIT, ENODEV if the mount went away meanwhile, and those of read() and write().
[[nodiscard]] loop::Result<Negotiated> handshake(int channel_fd, const HandshakeOptions& options);

}  // namespace ouro::fs
