#include "loop/ring.hpp"

#include <linux/time_types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "loop/uring_abi.hpp"

namespace ouro::loop {
namespace {

// From the most wanted set-up to the one that every io_uring kernel knows.
// SUBMIT_ALL: an SQE with an error does not stop those behind it (5.18). SINGLE_ISSUER and
// DEFER_TASKRUN: completions are run by our own enter, in one batch, without interrupts (6.1).
// TASKRUN_FLAG shows without a system call that such work is waiting.
constexpr std::array<unsigned, 4> kSetupFlags = {
    IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
        IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_CQSIZE,
};

// Without these the loop could lose completions or would need a timeout SQE per wait.
constexpr unsigned kNeededFeatures =
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE;

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  std::unique_ptr<Ring> ring(new Ring);
  OURO_TRY(ring->set_up(options));
  return ring;
}

Status Ring::set_up(const RingOptions& options) {
  int rc = -EINVAL;
  for (const unsigned flags : kSetupFlags) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = options.cq_entries;
    rc = ::io_uring_queue_init_params(options.sq_entries, &ring_, &params);
    if (rc != -EINVAL) break;
  }
  if (rc < 0) return fail(-rc);
  initialised_ = true;
  if ((ring_.features & kNeededFeatures) != kNeededFeatures) return fail(ENOSYS);

  probe_opcodes();
  unsigned workers[2] = {options.max_io_workers, 0};  // bounded, unbounded (0: as it is)
  // Best effort, as is the registered ring fd: without them the loop is slower, not wrong.
  (void)::io_uring_register_iowq_max_workers(&ring_, workers);
  if (::io_uring_register_ring_fd(&ring_) == 1) enter_flags_ |= IORING_ENTER_REGISTERED_RING;
  if ((ring_.features & abi::kFeatNoIowait) != 0) enter_flags_ |= abi::kEnterNoIowait;
  return {};
}

Ring::~Ring() {
  if (initialised_) ::io_uring_queue_exit(&ring_);
}

void Ring::probe_opcodes() {
  // A probe of our own size: liburing 2.3 asks for the operations that it knows, and no newer one.
  alignas(io_uring_probe)
      std::array<std::byte, sizeof(io_uring_probe) + 256 * sizeof(io_uring_probe_op)>
          storage{};
  auto* probe = reinterpret_cast<io_uring_probe*>(storage.data());
  if (::io_uring_register_probe(&ring_, probe, 256) < 0) return;
  for (unsigned i = 0; i < probe->ops_len; ++i) {
    io_uring_probe_op op;
    std::memcpy(&op, storage.data() + sizeof(io_uring_probe) + i * sizeof op, sizeof op);
    if ((op.flags & IO_URING_OP_SUPPORTED) != 0) opcodes_.set(op.op);
  }
}

io_uring_sqe* Ring::next_sqe() {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  if (sqe != nullptr) std::memset(sqe, 0, sizeof *sqe);
  return sqe;
}

unsigned Ring::flush_sq() {
  io_uring_sq& sq = ring_.sq;
  if (sq.sqe_head != sq.sqe_tail) {
    // The index array maps entry i to SQE i; liburing fills it at set-up or at flush, by version.
    for (unsigned at = sq.sqe_head; at != sq.sqe_tail; ++at) {
      sq.array[at & sq.ring_mask] = at & sq.ring_mask;
    }
    sq.sqe_head = sq.sqe_tail;
    io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
  }
  return sq.sqe_tail - io_uring_smp_load_acquire(sq.khead);
}

bool Ring::kernel_has_events() const {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  return (flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

KernelResult Ring::enter(std::int64_t timeout_ns) {
  const unsigned to_submit = flush_sq();
  const bool has_cqe = *ring_.cq.khead != io_uring_smp_load_acquire(ring_.cq.ktail);
  const bool waits = timeout_ns != 0 && !has_cqe;
  if (to_submit == 0 && !waits && !kernel_has_events()) return 0;

  __kernel_timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  io_uring_getevents_arg arg{};
  arg.sigmask_sz = _NSIG / 8;
  if (timeout_ns > 0) arg.ts = reinterpret_cast<std::uint64_t>(&timeout);
  ++enter_calls_;
  const int fd = ring_.enter_ring_fd;
  return from_libc(::syscall(__NR_io_uring_enter, fd, to_submit, waits ? 1U : 0U,
                             enter_flags_ | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
                             sizeof arg));
}

KernelResult Ring::submit_all() {
  while (flush_sq() > 0) {
    if (const KernelResult rc = enter(0); rc < 0 && rc != -EINTR) return rc;
  }
  return 0;
}

Result<std::uint16_t> Ring::register_personality() {
  const int id = ::io_uring_register_personality(&ring_);
  if (id < 0) return fail(-id);
  return static_cast<std::uint16_t>(id);
}

void Ring::unregister_personality(std::uint16_t personality) {
  (void)::io_uring_unregister_personality(&ring_, personality);
}

}  // namespace ouro::loop
