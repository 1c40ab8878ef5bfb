// io_uring names that are newer than liburing 2.3 (Debian 12), as the kernel's
// include/uapi/linux/io_uring.h defines them. Whether the running kernel has them is probed.
#pragma once

#include <liburing.h>

#include <cstdint>

namespace ouro::loop::abi {

// KERNEL(6.9): IORING_OP_FTRUNCATE, length in sqe->off.
inline constexpr std::uint8_t kOpFtruncate = 55;
// KERNEL(6.15): a task that waits with this flag is not counted as waiting for I/O.
inline constexpr unsigned kEnterNoIowait = 1U << 7;
inline constexpr unsigned kFeatNoIowait = 1U << 17;

static_assert(IORING_OP_SEND_ZC == 47, "the opcode numbers above count on from the header's");
static_assert(sizeof(io_uring_sqe) == 64);
static_assert(sizeof(io_uring_cqe) == 16);

}  // namespace ouro::loop::abi
