#include "passthrough/inline_executor.hpp"

namespace ouro::passthrough {

loop::KernelResult InlineExecutor::wait(SyncOp& op) {
  return call(op.credentials, [&op] { return op.call(); });
}

loop::KernelResult TryingExecutor::wait(SyncOp& op) {
  const ScopedCredentials scope(identity_, op.credentials);
  const auto result = op.try_call();
  if (!result) return refuse();
  ++inline_calls_;
  return *result;
}

void InlineAsyncExecutor::submit(Op& op) {
  const ScopedCredentials scope(identity_, op.credentials);
  context_.complete(op, static_cast<std::int32_t>(op.call()));
}

}  // namespace ouro::passthrough
