// Executors whose results a test decides: ScriptedExecutor for metadata operations, and
// ScriptedAsyncExecutor for data operations, which completes them in the order that the test wants.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "loop/aio_context.hpp"
#include "passthrough/executor.hpp"

namespace ouro::passthrough {

// The identity of the test process, taken once.
inline const ProcessIdentity& test_identity() {
  static const ProcessIdentity kIdentity = ProcessIdentity::take().value();
  return kIdentity;
}

// Does what it is asked, by system calls, unless the script says otherwise.
class ScriptedExecutor final : public Executor {
 public:
  explicit ScriptedExecutor(const ProcessIdentity& identity = test_identity())
      : identity_(identity) {}

  loop::KernelResult wait(SyncOp& op) override {
    ++waits_;
    ++waits_by_opcode_[op.opcode()];
    if (fails_at_ == waits_) return -error_;
    if (const auto scripted = script_.find(op.opcode()); scripted != script_.end()) {
      return scripted->second;
    }
    const ScopedCredentials scope(identity_, op.credentials);
    return op.call();
  }
  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }

  // Every operation of `opcode` gives `result`, and is not done.
  void script(std::uint8_t opcode, loop::KernelResult result) { script_[opcode] = result; }
  // The n-th wait() from now on (from 1) fails and is not done.
  void fail_at(std::uint64_t n, int errno_value) {
    fails_at_ = waits_ + n;
    error_ = errno_value;
  }
  [[nodiscard]] std::uint64_t waits() const { return waits_; }
  [[nodiscard]] std::uint64_t waits(std::uint8_t opcode) const { return waits_by_opcode_[opcode]; }

 private:
  const ProcessIdentity& identity_;
  std::map<std::uint8_t, loop::KernelResult> script_;
  std::uint64_t fails_at_ = 0;
  int error_ = 0;
  std::uint64_t waits_ = 0;
  std::array<std::uint64_t, 256> waits_by_opcode_{};
};

// Keeps what is submitted until the test completes it, in any order and with any result.
class ScriptedAsyncExecutor final : public AsyncExecutor {
 public:
  explicit ScriptedAsyncExecutor(loop::AioContext& context,
                                 const ProcessIdentity& identity = test_identity())
      : context_(context), identity_(identity) {}

  void submit(Op& op) override {
    ++submits_;
    pending_.push_back(&op);
  }
  void cancel(Op& op) override { cancelled_.push_back(&op); }
  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }

  [[nodiscard]] std::size_t pending() const { return pending_.size(); }
  [[nodiscard]] std::uint64_t submits() const { return submits_; }
  [[nodiscard]] const std::vector<Op*>& cancelled() const { return cancelled_; }
  // The SQE of the i-th pending operation, oldest first.
  [[nodiscard]] io_uring_sqe sqe(std::size_t i) {
    io_uring_sqe sqe{};
    pending_.at(i)->prepare(sqe);
    return sqe;
  }

  // Completes the i-th pending operation with `result`, without doing it.
  void complete(std::size_t i, loop::KernelResult result) { complete_op(take(i), result); }
  // Does it, but no more than `bytes` of it.
  void run_part(std::size_t i, std::uint32_t bytes);
  void run(std::size_t i) {
    Op& op = take(i);
    const ScopedCredentials scope(identity_, op.credentials);
    complete_op(op, op.call());
  }

 private:
  Op& take(std::size_t i) {
    Op* op = pending_.at(i);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
    return *op;
  }
  void complete_op(Op& op, loop::KernelResult result) {
    context_.complete(op, static_cast<std::int32_t>(result));
    context_.poll(loop::Blocking::kNo);
  }

  loop::AioContext& context_;
  const ProcessIdentity& identity_;
  std::vector<Op*> pending_;
  std::vector<Op*> cancelled_;
  std::uint64_t submits_ = 0;
};

// A short transfer: what the SQE asks for, cut off.
inline void ScriptedAsyncExecutor::run_part(std::size_t i, std::uint32_t bytes) {
  const io_uring_sqe wanted = sqe(i);
  auto* const buffer = reinterpret_cast<void*>(wanted.addr);
  const auto offset = static_cast<off_t>(wanted.off);
  const bool reads = wanted.opcode == IORING_OP_READ;
  complete_op(take(i), loop::from_libc(reads ? ::pread(wanted.fd, buffer, bytes, offset)
                                             : ::pwrite(wanted.fd, buffer, bytes, offset)));
}

}  // namespace ouro::passthrough
