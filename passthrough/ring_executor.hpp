// The executor on the ring: add_sqe, and for wait() a nested poll of the same context until the
// operation is done, while everything else of that context goes on being served.
//
// Home thread of the context. At most one wait() at a time is the rule of its user (fs/), which
// defers further ones; wait() itself nests to any depth.
#pragma once

#include <cstdint>

#include "loop/aio_context.hpp"
#include "passthrough/executor.hpp"
#include "passthrough/personality_cache.hpp"

namespace ouro::passthrough {

class RingExecutor final : public Executor, public AsyncExecutor {
 public:
  RingExecutor(loop::AioContext& context, const ProcessIdentity& identity)
      : context_(context), identity_(identity), personalities_(context, identity) {}

  loop::KernelResult wait(SyncOp& op) override;
  void submit(Op& op) override;
  void cancel(Op& op) override { context_.cancel(op); }

  // Ends the innermost wait() early, with EINTR, if the kernel can cancel what it waits for.
  void abandon_wait();

  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }
  [[nodiscard]] std::uint64_t nested_waits() const { return nested_waits_; }

 private:
  // Puts `op` on the ring; false if it must be called instead (no such opcode, no personality).
  bool try_submit(Op& op);

  loop::AioContext& context_;
  const ProcessIdentity& identity_;
  PersonalityCache personalities_;
  SyncOp* waited_for_ = nullptr;  // by the innermost wait()
  bool abandoned_ = false;        // its requester has gone
  std::uint64_t nested_waits_ = 0;
};

}  // namespace ouro::passthrough
