#include "fs/handshake.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "fs/argument_reader.hpp"
#include "fs/protocol.hpp"

namespace ouro::fs {
namespace {

constexpr std::uint32_t kPageBytes = 4096;
// KERNEL(5.4): 7.31 is the oldest protocol that has all that is relied on: MAX_PAGES (7.28), and
// writes that say whether they clear set-id bits (7.31). Everything newer is taken if it is
// offered.
constexpr std::uint32_t kOldestMinor = 31;

// Requests that may be in flight before the kernel holds back asynchronous ones (read-ahead,
// direct I/O); the kernel's default of 12 keeps a deep queue from ever forming.
constexpr std::uint16_t kMaxBackground = 64;
constexpr std::uint16_t kCongestionThreshold = 48;

// Wanted whatever the options say; ARCHITECTURE.md gives the reason for each.
constexpr std::uint64_t kWantedFlags =
    FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_HAS_IOCTL_DIR |
    FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
    FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT |
    FUSE_ABORT_ERROR | FUSE_CACHE_SYMLINKS | wire::kCreateSuppGroup | wire::kDirectIoAllowMmap;

struct InitRequest {
  fuse_in_header header{};
  fuse_init_in in{};
};

loop::Result<InitRequest> read_init(int channel_fd, int timeout_ms) {
  pollfd readable{channel_fd, POLLIN, 0};
  std::vector<std::byte> buffer(wire::kMinReadBuffer + kPageBytes);
  for (;;) {
    const loop::KernelResult ready = loop::from_libc(::poll(&readable, 1, timeout_ms));
    if (ready == 0) return loop::fail(ETIMEDOUT);
    const loop::KernelResult got =
        loop::from_libc(::read(channel_fd, buffer.data(), buffer.size()));
    if (got == -EINTR || got == -EAGAIN || got == -ENOENT) continue;
    if (got < 0) return loop::fail(static_cast<int>(-got));
    InitRequest request;
    ArgumentReader reader(std::span<const std::byte>(buffer).first(static_cast<std::size_t>(got)));
    if (!reader.read(request.header) || request.header.opcode != FUSE_INIT) {
      return loop::fail(EPROTO);
    }
    // Shorter before 7.36, when flags2 came.
    const auto rest = reader.rest();
    std::memcpy(&request.in, rest.data(), std::min(rest.size(), sizeof request.in));
    return request;
  }
}

loop::Status answer(int channel_fd, std::uint64_t unique, int errno_value,
                    const fuse_init_out& init) {
  struct {
    fuse_out_header header;
    fuse_init_out init;
  } out{{sizeof(fuse_out_header), -errno_value, unique}, init};
  if (errno_value == 0) out.header.len = sizeof out;
  return loop::to_status(loop::from_libc(::write(channel_fd, &out, out.header.len)));
}

}  // namespace

loop::Result<Negotiated> handshake(int channel_fd, const HandshakeOptions& options) {
  for (;;) {
    OURO_TRY_ASSIGN(const InitRequest request, read_init(channel_fd, options.timeout_ms));
    fuse_init_out out{};
    out.major = wire::kMajor;
    out.minor = wire::kMinor;
    if (request.in.major > wire::kMajor) {
      // The protocol's rule: name ours, and the kernel sends another INIT in it.
      OURO_TRY(answer(channel_fd, request.header.unique, 0, out));
      continue;
    }
    if (request.in.major < wire::kMajor || request.in.minor < kOldestMinor) {
      OURO_TRY(answer(channel_fd, request.header.unique, EPROTO, out));
      return loop::fail(EPROTO);
    }
    Negotiated negotiated;
    negotiated.kernel_minor = request.in.minor;
    std::uint64_t offered = request.in.flags;
    if ((offered & FUSE_INIT_EXT) != 0) offered |= std::uint64_t{request.in.flags2} << 32;
    negotiated.flags = offered & (kWantedFlags | options.extra_flags);
    negotiated.max_write_bytes = options.max_write_bytes;
    // KERNEL(6.18): an answer of more than what is offered counts as that (process_init_reply()).
    negotiated.max_readahead_bytes = std::min(
        options.max_readahead_bytes.value_or(request.in.max_readahead), request.in.max_readahead);

    out.max_readahead = negotiated.max_readahead_bytes;
    out.flags = static_cast<std::uint32_t>(negotiated.flags);
    out.flags2 = static_cast<std::uint32_t>(negotiated.flags >> 32);
    out.max_background = kMaxBackground;
    out.congestion_threshold = kCongestionThreshold;
    out.max_write = options.max_write_bytes;
    out.max_pages = static_cast<std::uint16_t>(options.max_write_bytes / kPageBytes);
    out.time_gran = 1;
    if ((negotiated.flags & wire::kPassthrough) != 0) {
      std::memcpy(reinterpret_cast<std::byte*>(&out) + wire::kMaxStackDepthAt,
                  &options.max_stack_depth, sizeof options.max_stack_depth);
    }
    OURO_TRY(answer(channel_fd, request.header.unique, 0, out));
    return negotiated;
  }
}

}  // namespace ouro::fs
