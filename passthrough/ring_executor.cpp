#include "passthrough/ring_executor.hpp"

#include <utility>

namespace ouro::passthrough {

bool RingExecutor::try_submit(Op& op) {
  if (!context_.supports(op.opcode())) return false;
  std::uint16_t personality = 0;
  if (op.credentials != nullptr && identity_.switches()) {
    auto registered = personalities_.acquire(*op.credentials);
    if (!registered) return false;
    personality = *registered;
  }
  context_.add_sqe(
      [&](io_uring_sqe& sqe) {
        op.prepare(sqe);
        sqe.personality = personality;
      },
      op);
  return true;
}

loop::KernelResult RingExecutor::wait(SyncOp& op) {
  if (!try_submit(op)) return call(op.credentials, [&op] { return op.call(); });
  ++nested_waits_;
  SyncOp* const outer = std::exchange(waited_for_, &op);
  const bool outer_abandoned = std::exchange(abandoned_, false);
  while (!op.done()) context_.poll(loop::Blocking::kYes);
  waited_for_ = outer;
  if (std::exchange(abandoned_, outer_abandoned) && op.result() == -ECANCELED) return -EINTR;
  // KERNEL: io-wq answers ECANCELED when it cannot create a worker (pids.max, RLIMIT_NPROC).
  if (op.result() == -ECANCELED) return call(op.credentials, [&op] { return op.call(); });
  return op.result();
}

void RingExecutor::abandon_wait() {
  if (waited_for_ == nullptr) return;
  abandoned_ = true;
  context_.cancel(*waited_for_);
}

void RingExecutor::submit(Op& op) {
  if (try_submit(op)) return;
  const ScopedCredentials scope(identity_, op.credentials);
  context_.complete(op, static_cast<std::int32_t>(op.call()));
}

}  // namespace ouro::passthrough
