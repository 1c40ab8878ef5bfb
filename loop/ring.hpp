// One io_uring instance: set-up by probing, submission, waiting and reaping. Knows nothing of
// handlers or callbacks; AioContext is its only user.
//
// Thread: created, used and destroyed by one thread. With SINGLE_ISSUER (kernel 6.0) the kernel
// enforces it, io_uring_register calls included.
#pragma once

#include <liburing.h>

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>

#include "loop/result.hpp"

namespace ouro::loop {

struct RingOptions {
  unsigned sq_entries = 256;
  unsigned cq_entries = 4096;
  // Upper bound of kernel workers for file I/O that cannot complete inline. A hung operation
  // occupies one, so the kernel's default (4 per CPU) would let a few starve all others.
  unsigned max_io_workers = 64;
};

class Ring {
 public:
  // Errors: ENOSYS, EPERM (sysctl kernel.io_uring_disabled, seccomp), ENOMEM, EMFILE.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // A cleared SQE, or nullptr while the submission queue is full.
  [[nodiscard]] io_uring_sqe* next_sqe();

  // Hands queued SQEs to the kernel and waits until a CQE is there or `timeout_ns` has passed
  // (0: does not wait, negative: no limit). Skips the system call when there is nothing to do.
  // Errors: EINTR, ETIME, and EAGAIN, EBUSY or ENOMEM, after which unsubmitted SQEs stay queued.
  KernelResult enter(std::int64_t timeout_ns);

  // Hands over every queued SQE without waiting. Errors as for enter().
  KernelResult submit_all();

  // Calls `take(user_data, cqe)` for every CQE there is, oldest first, each copied out of the
  // queue before the call. Returns how many.
  template <typename Take>
  unsigned reap(Take&& take);

  [[nodiscard]] bool supports(unsigned opcode) const { return opcodes_.test(opcode); }
  [[nodiscard]] unsigned setup_flags() const { return ring_.flags; }
  [[nodiscard]] unsigned features() const { return ring_.features; }
  [[nodiscard]] int fd() const { return ring_.ring_fd; }
  [[nodiscard]] std::uint64_t enter_calls() const { return enter_calls_; }

  // Snapshots the calling thread's credentials for use in sqe->personality.
  // Errors: EBUSY when the ring holds its maximum (65,534).
  [[nodiscard]] Result<std::uint16_t> register_personality();
  void unregister_personality(std::uint16_t personality);

 private:
  Ring() = default;
  [[nodiscard]] Status set_up(const RingOptions& options);
  void probe_opcodes();
  [[nodiscard]] unsigned flush_sq();
  [[nodiscard]] bool kernel_has_events() const;

  io_uring ring_{};
  bool initialised_ = false;
  unsigned enter_flags_ = 0;
  std::uint64_t enter_calls_ = 0;
  std::bitset<256> opcodes_;
};

template <typename Take>
unsigned Ring::reap(Take&& take) {
  unsigned count = 0;
  unsigned head = *ring_.cq.khead;
  while (head != io_uring_smp_load_acquire(ring_.cq.ktail)) {
    const io_uring_cqe cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
    // Advanced before anything else can run, so that no callback ever sees a CQE twice.
    io_uring_smp_store_release(ring_.cq.khead, ++head);
    take(cqe.user_data, cqe);
    ++count;
  }
  return count;
}

}  // namespace ouro::loop
