// Where an Op runs: on the ring of the thread's AioContext, or by the system call itself. Chosen
// once, when a mount starts.
#pragma once

#include <cerrno>
#include <cstdint>
#include <utility>

#include "passthrough/op.hpp"

namespace ouro::passthrough {

// What becomes of an operation that can block.
enum class Blocking : std::uint8_t { kAllowed, kRefused };

// Runs metadata operations: the caller has the result when wait() returns.
//
// One that refuses what can block is for whoever would rather have a thing done elsewhere than wait
// for it: a refused operation says -EAGAIN, whoever has asked for it gives up at once, with nothing
// changed, and take_refusal() tells that from an EAGAIN of the kernel.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual loop::KernelResult wait(SyncOp& op) = 0;

  // Runs an operation that has no SQE form here and now, under `credentials` (may be null).
  // `call` returns a KernelResult.
  template <typename Call>
  loop::KernelResult call(const Credentials* credentials, Call&& call) {
    if (refuses_blocking()) return refuse();
    ++inline_calls_;
    const ScopedCredentials scope(identity(), credentials);
    return call();
  }
  template <typename Call>
  loop::KernelResult call(Call&& call) {
    if (refuses_blocking()) return refuse();
    return call_at_once(std::forward<Call>(call));
  }
  // The same for one that never blocks.
  template <typename Call>
  loop::KernelResult call_at_once(Call&& call) {
    ++inline_calls_;
    return call();
  }

  [[nodiscard]] bool refuses_blocking() const { return blocking_ == Blocking::kRefused; }
  loop::KernelResult refuse() {
    refused_ = true;
    return -EAGAIN;
  }
  // Whether an operation was refused since the last look.
  [[nodiscard]] bool take_refusal() { return std::exchange(refused_, false); }

  // How many operations ran as system calls.
  [[nodiscard]] std::uint64_t inline_calls() const { return inline_calls_; }
  [[nodiscard]] virtual const ProcessIdentity& identity() const = 0;

 protected:
  explicit Executor(Blocking blocking = Blocking::kAllowed) : blocking_(blocking) {}

  std::uint64_t inline_calls_ = 0;

 private:
  const Blocking blocking_;
  bool refused_ = false;
};

// Runs data operations: submit() returns at once, and op.on_cqe() runs in a later dispatch phase
// of the thread's context, never inside submit().
class AsyncExecutor {
 public:
  virtual ~AsyncExecutor() = default;
  virtual void submit(Op& op) = 0;
  // Asks for an early end of a submitted op; its on_cqe() still comes.
  virtual void cancel(Op& op) = 0;
  // For an op that the ring has refused and that calls itself instead.
  [[nodiscard]] virtual const ProcessIdentity& identity() const = 0;
};

}  // namespace ouro::passthrough
