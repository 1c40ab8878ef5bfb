// One kernel operation as an object with two faces: prepare() fills in an SQE, call() does the
// same by a system call. Which of them is used is the executor's business.
//
// Belongs to one thread from submission to completion. Whoever submits it keeps alive what it
// points to until then.
#pragma once

#include <liburing.h>

#include <cstdint>

#include "loop/cqe_handler.hpp"
#include "loop/result.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

class Op : public loop::CqeHandler {
 public:
  // IORING_OP_*, so that an executor can tell whether the kernel has it.
  [[nodiscard]] virtual std::uint8_t opcode() const = 0;
  virtual void prepare(io_uring_sqe& sqe) = 0;
  [[nodiscard]] virtual loop::KernelResult call() = 0;

  // Whose identity it runs under; nullptr: the daemon's own. Set before submission.
  const Credentials* credentials = nullptr;
};

// An operation that somebody waits for. Lives on the stack of the one who waits.
class SyncOp : public Op {
 public:
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
