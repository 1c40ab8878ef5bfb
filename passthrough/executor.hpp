// Where an Op runs: on the ring of the thread's AioContext, or by the system call itself. Chosen
// once, when a mount starts.
#pragma once

#include <cstdint>

#include "passthrough/op.hpp"

namespace ouro::passthrough {

// Runs metadata operations: the caller has the result when wait() returns.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual loop::KernelResult wait(SyncOp& op) = 0;

  // Runs an operation that has no SQE form here and now, under `credentials` (may be null).
  // `call` returns a KernelResult.
  template <typename Call>
  loop::KernelResult call(const Credentials* credentials, Call&& call) {
    ++inline_calls_;
    const ScopedCredentials scope(identity(), credentials);
    return call();
  }
  template <typename Call>
  loop::KernelResult call(Call&& call) {
    ++inline_calls_;
    return call();
  }

  // How many operations ran as system calls.
  [[nodiscard]] std::uint64_t inline_calls() const { return inline_calls_; }
  [[nodiscard]] virtual const ProcessIdentity& identity() const = 0;

 protected:
  std::uint64_t inline_calls_ = 0;
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
