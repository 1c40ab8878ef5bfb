// One io_uring instance: set-up by probing, submission, waiting and reaping. Knows nothing of
// handlers or callbacks; AioContext is its only user.
//
// Thread: created, used and destroyed by one thread. With SINGLE_ISSUER (kernel 6.0) the kernel
// enforces it, io_uring_register calls included.
#pragma once

#include <liburing.h>

#include <bitset>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "loop/cqe_handler.hpp"
#include "loop/result.hpp"
#include "loop/ring_options.hpp"

namespace ouro::loop {

class Ring {
 public:
  // Errors: ENOSYS, EPERM (sysctl kernel.io_uring_disabled, seccomp), ENOMEM, EMFILE, and EINVAL
  // for options that no kernel or not this one takes.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // A cleared SQE, or nullptr while the submission queue is full.
  [[nodiscard]] io_uring_sqe* next_sqe();
  // How many SQEs next_sqe() has before a submission.
  [[nodiscard]] unsigned sq_space() const { return ::io_uring_sq_space_left(&ring_); }
  [[nodiscard]] unsigned sq_entries() const { return ring_.sq.ring_entries; }

  // Hands queued SQEs to the kernel and waits until a CQE is there or `timeout_ns` has passed
  // (0: does not wait, negative: no limit). Skips the system call when there is nothing to do.
  // Errors: EINTR, ETIME, and EAGAIN, EBUSY or ENOMEM, after which unsubmitted SQEs stay queued.
  // An int, as io_uring_enter2() has it, so that it can be left by a jump (AioContext::collect).
  int enter(std::int64_t timeout_ns);

  // Hands over every queued SQE without waiting. Errors as for enter().
  KernelResult submit_all();

  // Whether enter(0) and reap() would find something to do. No system call.
  [[nodiscard]] bool needs_enter() const {
    return has_cqe() || kernel_has_events() ||
           ring_.sq.sqe_tail != io_uring_smp_load_acquire(ring_.sq.khead);
  }

  // Calls `take(user_data, cqe)` for every CQE there is, oldest first, each copied out of the
  // queue before the call. Returns how many.
  template <typename Take>
  unsigned reap(Take&& take);

  // Whether the kernel has the operation and the options allow it.
  [[nodiscard]] bool supports(unsigned opcode) const { return opcodes_.test(opcode); }
  [[nodiscard]] unsigned setup_flags() const { return ring_.flags; }
  [[nodiscard]] unsigned features() const { return ring_.features; }
  // Readable while there is something to reap. With RingOptions::polled a poll() or epoll_wait() of
  // the ring's thread sleeps through nothing, but ends early (EINTR) where the kernel must run what
  // completes a request in that thread.
  [[nodiscard]] int fd() const { return ring_.ring_fd; }
  [[nodiscard]] std::uint64_t enter_calls() const { return enter_calls_; }

  // Snapshots the calling thread's credentials for use in sqe->personality.
  // Errors: EBUSY when the ring holds its maximum (65,534).
  [[nodiscard]] Result<std::uint16_t> register_personality();
  void unregister_personality(std::uint16_t personality);

 private:
  explicit Ring(KernelFaults* faults) : faults_(faults) {}
  [[nodiscard]] Status set_up(const RingOptions& options);
  [[nodiscard]] KernelResult init(const RingOptions& options, unsigned flags);
  [[nodiscard]] Status restrict_to(const std::vector<std::uint8_t>& opcodes);
  void probe_opcodes();
  // Shows the kernel every SQE; returns how many it has not taken.
  [[nodiscard]] unsigned flush_sq() {
    const io_uring_sq& sq = ring_.sq;
    io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
    return sq.sqe_tail - io_uring_smp_load_acquire(sq.khead);
  }
  [[nodiscard]] int call_enter(unsigned to_submit, unsigned wait_for, unsigned flags,
                               io_uring_getevents_arg* argument) {
    ++enter_calls_;
    return kernel_call([&] {
      return ::io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), to_submit, wait_for,
                               enter_flags_ | IORING_ENTER_GETEVENTS | flags,
                               reinterpret_cast<sigset_t*>(argument),
                               argument == nullptr ? 0 : sizeof *argument);
    });
  }
  [[nodiscard]] int enter_timed(unsigned to_submit, std::int64_t timeout_ns);
  [[nodiscard]] bool kernel_has_events() const {
    const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
    return (flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
  }
  [[nodiscard]] bool has_cqe() const {
    return *ring_.cq.khead != io_uring_smp_load_acquire(ring_.cq.ktail);
  }
  // Every kernel call of the ring goes through here, so that a test can let each one fail.
  template <typename Call>
  [[nodiscard]] auto kernel_call(Call&& call) -> decltype(call()) {
    if (faults_ != nullptr) [[unlikely]] {
      if (const int error = faults_->next(); error != 0) return -error;
    }
    return call();
  }

  io_uring ring_{};
  bool initialised_ = false;
  unsigned enter_flags_ = 0;
  std::uint64_t enter_calls_ = 0;
  KernelFaults* const faults_;
  std::bitset<256> opcodes_;
};

// Inline, as what every iteration and every request goes through.

inline io_uring_sqe* Ring::next_sqe() {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return nullptr;
  std::memset(sqe, 0, sizeof *sqe);
  if ((ring_.flags & IORING_SETUP_SQE128) != 0) std::memset(sqe + 1, 0, sizeof *sqe);
  return sqe;
}

inline int Ring::enter(std::int64_t timeout_ns) {
  const unsigned to_submit = flush_sq();
  const bool waits = timeout_ns != 0 && !has_cqe();
  if (to_submit == 0 && !waits && !kernel_has_events()) return 0;
  // Read and checked by the kernel at every call, so only passed where there is one.
  if (waits && timeout_ns > 0) return enter_timed(to_submit, timeout_ns);
  return call_enter(to_submit, waits ? 1 : 0, 0, nullptr);
}

template <typename Take>
[[gnu::always_inline]] inline unsigned Ring::reap(Take&& take) {
  const io_uring_cq cq = ring_.cq;  // a copy, which `take` cannot change
  const unsigned shift = (ring_.flags & IORING_SETUP_CQE32) != 0 ? 1 : 0;
  const unsigned first = *cq.khead;
  unsigned head = first;
  while (head != io_uring_smp_load_acquire(cq.ktail)) {
    const io_uring_cqe& cqe = cq.cqes[(head & cq.ring_mask) << shift];
    const std::uint64_t user_data = cqe.user_data;
    Cqe copy{cqe.res, cqe.flags, {}};
    if (shift != 0) copy.extra = {cqe.big_cqe[0], cqe.big_cqe[1]};
    // Advanced before anything else can run, so that no callback ever sees a CQE twice.
    io_uring_smp_store_release(cq.khead, ++head);
    take(user_data, copy);
  }
  return head - first;
}

}  // namespace ouro::loop
