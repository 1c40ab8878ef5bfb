// The operations of this room: a loop::Op that also knows under whose identity it is to run. Which
// of its two faces is used, SQE or system call, is the executor's business.
//
// Belongs to one thread from submission to completion. Whoever submits it keeps alive what it
// points to until then.
#pragma once

#include <optional>

#include "loop/op.hpp"
#include "loop/result.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

class Op : public loop::Op {
 public:
  // Whose identity it runs under; nullptr: the daemon's own. Set before submission.
  const Credentials* credentials = nullptr;
};

// An operation that somebody waits for. Lives on the stack of the one who waits.
class SyncOp : public Op {
 public:
  // Its third face: call(), if it can be known not to block. Empty: it would, or that is not known.
  [[nodiscard]] virtual std::optional<loop::KernelResult> try_call() { return std::nullopt; }

  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] loop::KernelResult result() const { return result_; }

 private:
  void on_cqe(const loop::Cqe& cqe) final {
    result_ = cqe.res;
    done_ = true;
  }

  bool done_ = false;
  loop::KernelResult result_ = 0;
};

}  // namespace ouro::passthrough
