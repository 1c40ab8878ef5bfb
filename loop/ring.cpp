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

// What a restricted ring must be able to do besides the user's own.
constexpr std::array<std::uint8_t, 2> kLoopOpcodes = {IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL};
constexpr std::array<std::uint8_t, 7> kLoopRegistrations = {
    IORING_REGISTER_PROBE,         IORING_REGISTER_ENABLE_RINGS,     IORING_REGISTER_PERSONALITY,
    IORING_UNREGISTER_PERSONALITY, IORING_REGISTER_IOWQ_MAX_WORKERS, IORING_REGISTER_RING_FDS,
    IORING_UNREGISTER_RING_FDS,
};

// For what Debian's build of liburing 2.3 declares and does not export.
KernelResult register_call(int ring_fd, unsigned opcode, const void* argument, std::size_t count) {
  return from_libc(
      ::syscall(__NR_io_uring_register, ring_fd, opcode, argument, static_cast<unsigned>(count)));
}

io_uring_restriction restriction(unsigned kind, std::uint8_t value) {
  io_uring_restriction entry{};
  entry.opcode = static_cast<__u16>(kind);
  entry.sqe_op = value;  // in a union with what the other kinds hold
  return entry;
}

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  std::unique_ptr<Ring> ring(new Ring(options.faults));
  OURO_TRY(ring->set_up(options));
  return ring;
}

KernelResult Ring::init(const RingOptions& options, unsigned flags) {
  io_uring_params params{};
  params.flags = flags;
  if (options.sqe128) params.flags |= IORING_SETUP_SQE128;
  if (options.cqe32) params.flags |= IORING_SETUP_CQE32;
  if (!options.allowed_opcodes.empty()) params.flags |= IORING_SETUP_R_DISABLED;
  params.cq_entries = options.cq_entries;
  return kernel_call(
      [&] { return ::io_uring_queue_init_params(options.sq_entries, &ring_, &params); });
}

Status Ring::set_up(const RingOptions& options) {
  KernelResult rc = -EINVAL;
  for (const unsigned flags : kSetupFlags) {
    // KERNEL(6.18): with DEFER_TASKRUN, io_req_local_work_add() wakes who waits in
    // io_uring_enter(), and not the ring's poll_wq, where poll() and epoll wait: they sleep through
    // completions.
    const bool deferred = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    if (options.polled && deferred) continue;
    // KERNEL(6.18): what waits in the ring's own list is run by nobody when its thread has exited
    // (io_uring_cancel_generic() leaves it alone), until the ring is closed. A thread's list of
    // task work is run at its exit, and later additions by a kernel worker.
    if (options.ends_with_thread && deferred) continue;
    rc = init(options, flags);
    if (rc != -EINVAL) break;
  }
  OURO_TRY(to_status(rc));
  initialised_ = true;
  // A ring lives for as long as somebody has mapped it, so children must not.
  if (options.ends_with_thread) (void)::io_uring_ring_dontfork(&ring_);
  // Entry i of the queue is SQE i, for good. A later liburing has a ring without such an array.
  for (unsigned i = 0; ring_.sq.array != nullptr && i < ring_.sq.ring_entries; ++i) {
    ring_.sq.array[i] = i;
  }
  if ((ring_.features & kNeededFeatures) != kNeededFeatures) return fail(ENOSYS);

  probe_opcodes();
  if (!options.allowed_opcodes.empty()) OURO_TRY(restrict_to(options.allowed_opcodes));
  unsigned workers[2] = {options.max_io_workers, 0};  // bounded, unbounded (0: as it is)
  // Best effort, as is the registered ring fd: without them the loop is slower, not wrong.
  (void)kernel_call([&] { return ::io_uring_register_iowq_max_workers(&ring_, workers); });
  if (kernel_call([&] { return ::io_uring_register_ring_fd(&ring_); }) == 1) {
    enter_flags_ |= IORING_ENTER_REGISTERED_RING;
  }
  if ((ring_.features & abi::kFeatNoIowait) != 0) enter_flags_ |= abi::kEnterNoIowait;
  return {};
}

Ring::~Ring() {
  if (initialised_) ::io_uring_queue_exit(&ring_);
}

Status Ring::restrict_to(const std::vector<std::uint8_t>& opcodes) {
  std::bitset<256> wanted;
  for (const std::uint8_t opcode : opcodes) wanted.set(opcode);
  for (const std::uint8_t opcode : kLoopOpcodes) wanted.set(opcode);
  opcodes_ &= wanted;
  std::vector<io_uring_restriction> entries;
  for (unsigned opcode = 0; opcode < opcodes_.size(); ++opcode) {
    if (!opcodes_.test(opcode)) continue;
    entries.push_back(restriction(IORING_RESTRICTION_SQE_OP, static_cast<std::uint8_t>(opcode)));
  }
  for (const std::uint8_t registration : kLoopRegistrations) {
    entries.push_back(restriction(IORING_RESTRICTION_REGISTER_OP, registration));
  }
  entries.push_back(restriction(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, 0xff));
  OURO_TRY(to_status(kernel_call([&] {
    return register_call(ring_.ring_fd, IORING_REGISTER_RESTRICTIONS, entries.data(),
                         entries.size());
  })));
  return to_status(kernel_call(
      [&] { return register_call(ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0); }));
}

void Ring::probe_opcodes() {
  // A probe of our own size: liburing 2.3 asks for the operations that it knows, and no newer one.
  alignas(io_uring_probe)
      std::array<std::byte, sizeof(io_uring_probe) + 256 * sizeof(io_uring_probe_op)>
          storage{};
  auto* probe = reinterpret_cast<io_uring_probe*>(storage.data());
  if (kernel_call([&] { return ::io_uring_register_probe(&ring_, probe, 256); }) < 0) return;
  for (unsigned i = 0; i < probe->ops_len; ++i) {
    io_uring_probe_op op;
    std::memcpy(&op, storage.data() + sizeof(io_uring_probe) + i * sizeof op, sizeof op);
    if ((op.flags & IO_URING_OP_SUPPORTED) != 0) opcodes_.set(op.op);
  }
}

int Ring::enter_timed(unsigned to_submit, std::int64_t timeout_ns) {
  __kernel_timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  io_uring_getevents_arg arg{};
  arg.sigmask_sz = _NSIG / 8;
  arg.ts = reinterpret_cast<std::uint64_t>(&timeout);
  return call_enter(to_submit, 1, IORING_ENTER_EXT_ARG, &arg);
}

KernelResult Ring::submit_all() {
  while (flush_sq() > 0) {
    if (const KernelResult rc = enter(0); rc < 0 && rc != -EINTR) return rc;
  }
  return 0;
}

Result<std::uint16_t> Ring::register_personality() {
  OURO_TRY_ASSIGN(const std::int64_t id,
                  to_result(kernel_call([&] { return ::io_uring_register_personality(&ring_); })));
  return static_cast<std::uint16_t>(id);
}

void Ring::unregister_personality(std::uint16_t personality) {
  (void)::io_uring_unregister_personality(&ring_, personality);
}

}  // namespace ouro::loop
