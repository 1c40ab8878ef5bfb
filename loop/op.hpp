// One kernel operation as an object with two faces: prepare() fills in an SQE, call() does the
// same by a system call, for a context without a ring or a kernel without the opcode.
//
// Belongs to one thread from AioContext::start() to completion. Whoever starts it keeps alive what
// it points to until then.
#pragma once

#include <liburing.h>

#include <cstdint>

#include "loop/cqe_handler.hpp"
#include "loop/result.hpp"

namespace ouro::loop {

class Op : public CqeHandler {
 public:
  // IORING_OP_*, so that it can be told whether the kernel has it.
  [[nodiscard]] virtual std::uint8_t opcode() const = 0;
  virtual void prepare(io_uring_sqe& sqe) = 0;
  [[nodiscard]] virtual KernelResult call() = 0;
};

}  // namespace ouro::loop
