// The executors that make system calls. InlineExecutor serves any thread (one object per thread);
// InlineAsyncExecutor belongs to the home thread of its context.
#pragma once

#include "loop/aio_context.hpp"
#include "passthrough/executor.hpp"

namespace ouro::passthrough {

class InlineExecutor final : public Executor {
 public:
  explicit InlineExecutor(const ProcessIdentity& identity) : identity_(identity) {}
  loop::KernelResult wait(SyncOp& op) override;
  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }

 private:
  const ProcessIdentity& identity_;
};

// Makes only calls that cannot block, and refuses all others (see Executor).
class TryingExecutor final : public Executor {
 public:
  explicit TryingExecutor(const ProcessIdentity& identity)
      : Executor(Blocking::kRefused), identity_(identity) {}
  loop::KernelResult wait(SyncOp& op) override;
  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }

 private:
  const ProcessIdentity& identity_;
};

class InlineAsyncExecutor final : public AsyncExecutor {
 public:
  InlineAsyncExecutor(loop::AioContext& context, const ProcessIdentity& identity)
      : context_(context), identity_(identity) {}
  void submit(Op& op) override;
  void cancel(Op&) override {}  // what was called is done
  [[nodiscard]] const ProcessIdentity& identity() const override { return identity_; }

 private:
  loop::AioContext& context_;
  const ProcessIdentity& identity_;
};

}  // namespace ouro::passthrough
