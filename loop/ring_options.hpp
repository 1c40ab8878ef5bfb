// How a ring is set up. What is not an option here is probed: see ring.cpp.
#pragma once

#include <cstdint>
#include <vector>

namespace ouro::loop {

// For tests: decides the fate of each kernel call that a ring makes.
class KernelFaults {
 public:
  // 0, or the errno with which the next call fails without being made.
  [[nodiscard]] virtual int next() = 0;

 protected:
  ~KernelFaults() = default;
};

struct RingOptions {
  unsigned sq_entries = 256;
  unsigned cq_entries = 4096;
  // Upper bound of kernel workers for file I/O that cannot complete inline. A hung operation
  // occupies one, so the kernel's default (4 per CPU) would let a few starve all others.
  unsigned max_io_workers = 64;
  // SQEs of 128 bytes, with 80 bytes for a URING_CMD (5.19).
  bool sqe128 = false;
  // CQEs of 32 bytes; the second half is Cqe::extra (5.19).
  bool cqe32 = false;
  // If not empty, the only IORING_OP_* that the kernel will ever take from this ring (5.10). The
  // loop itself uses POLL_ADD, ASYNC_CANCEL: they are added.
  std::vector<std::uint8_t> allowed_opcodes = {};
  // Whether completions are waited for outside of enter(), by poll() or epoll on Ring::fd().
  bool polled = false;
  // Whether requests that need the ring's thread to complete end with that thread, and not with the
  // last reference to the ring. For a URING_CMD that somebody else waits for, without whom the
  // process cannot end: see ARCHITECTURE.md.
  bool ends_with_thread = false;
  KernelFaults* faults = nullptr;
};

}  // namespace ouro::loop
