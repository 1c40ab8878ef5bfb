#include "tests/unit/fs/scripted_executors.hpp"

#include <algorithm>
#include <utility>

namespace ouro::fs {
namespace {

// A read of one byte that comes when the test lets it: an operation that the kernel can cancel.
class Gate final : public passthrough::SyncOp {
 public:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_READ; }
  void prepare(io_uring_sqe& sqe) override {
    ::io_uring_prep_read(&sqe, pipe_.reader.get(), &byte_, 1, 0);
  }
  [[nodiscard]] loop::KernelResult call() override { return -ENOSYS; }
  void open() const { pipe_.put(); }

 private:
  const testing::Pipe pipe_{O_CLOEXEC};  // blocking: the ring waits for it
  char byte_ = 0;
};

}  // namespace

HoldingExecutor::HoldingExecutor(loop::AioContext& context, passthrough::RingExecutor& ring)
    : context_(context), ring_(ring) {}

loop::KernelResult HoldingExecutor::wait(passthrough::SyncOp& op) {
  ++waits_;
  if (script_) {
    if (const loop::KernelResult held = hold(); held < 0) {
      ++abandoned_;
      return held;
    }
  }
  return ring_.wait(op);
}

loop::KernelResult HoldingExecutor::hold() {
  Gate gate;
  bool ended = false;
  const auto script = std::exchange(script_, nullptr);
  loop::BottomHalf run_script(context_, [&] {
    script();
    ended = true;
    gate.open();
  });
  run_script.schedule();
  const loop::KernelResult result = ring_.wait(gate);
  // If it was abandoned, the script may have more to say.
  while (!ended) context_.poll(loop::Blocking::kYes);
  return result;
}

void HoldingDataExecutor::let_go(std::size_t count) {
  for (; count > 0 && !held_.empty(); --count) {
    passthrough::Op* op = held_.front();
    held_.pop_front();
    ring_.submit(*op);
  }
}

void HoldingDataExecutor::let_all_go() {
  holding_ = false;
  let_go(held_.size());
}

void HoldingDataExecutor::submit(passthrough::Op& op) {
  if (!holding_) return ring_.submit(op);
  held_.push_back(&op);
}

void HoldingDataExecutor::cancel(passthrough::Op& op) {
  const auto found = std::find(held_.begin(), held_.end(), &op);
  if (found == held_.end()) return ring_.cancel(op);
  held_.erase(found);
  context_.complete(op, -ECANCELED);
}

}  // namespace ouro::fs
