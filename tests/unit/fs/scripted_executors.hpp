// Executors that hold operations back for as long as a test wants, as a dead disk does, while
// everything else runs on the ring. Home thread of their context.
#pragma once

#include <liburing.h>

#include <deque>
#include <functional>
#include <memory>

#include "loop/aio_context.hpp"
#include "passthrough/executor.hpp"
#include "passthrough/ring_executor.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::fs {

// Waits on the ring. An operation that is held back waits in a real nested loop, in which the
// test's script runs; it goes on when the script has ended.
class HoldingExecutor final : public passthrough::Executor {
 public:
  HoldingExecutor(loop::AioContext& context, passthrough::RingExecutor& ring);

  // The next wait() is held back while `script` runs in its nested loop.
  void hold_next(std::function<void()> script) { script_ = std::move(script); }
  [[nodiscard]] unsigned waits() const { return waits_; }
  // Waits that ended without their operation, because their request was abandoned.
  [[nodiscard]] unsigned abandoned() const { return abandoned_; }

  loop::KernelResult wait(passthrough::SyncOp& op) override;
  [[nodiscard]] const passthrough::ProcessIdentity& identity() const override {
    return ring_.identity();
  }

 private:
  loop::KernelResult hold();

  loop::AioContext& context_;
  passthrough::RingExecutor& ring_;
  std::function<void()> script_;
  unsigned waits_ = 0;
  unsigned abandoned_ = 0;
};

// Submits to the ring, or keeps what is submitted until let_go().
class HoldingDataExecutor final : public passthrough::AsyncExecutor {
 public:
  HoldingDataExecutor(loop::AioContext& context, passthrough::RingExecutor& ring)
      : context_(context), ring_(ring) {}

  void hold() { holding_ = true; }
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  // Gives the oldest ones that are held to the ring, all or some of them.
  void let_go(std::size_t count);
  void let_all_go();

  void submit(passthrough::Op& op) override;
  void cancel(passthrough::Op& op) override;
  [[nodiscard]] const passthrough::ProcessIdentity& identity() const override {
    return ring_.identity();
  }

 private:
  loop::AioContext& context_;
  passthrough::RingExecutor& ring_;
  bool holding_ = false;
  std::deque<passthrough::Op*> held_;
};

}  // namespace ouro::fs
