// The smallest program on an installed ouro-loop: one NOP through the ring, or by the system call
// that it is where there is no ring.
#include <cstdio>

#include "loop/aio_context.hpp"

namespace {

class Nop final : public ouro::loop::Op {
 public:
  bool done = false;

 private:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_NOP; }
  void prepare(io_uring_sqe& sqe) override { ::io_uring_prep_nop(&sqe); }
  [[nodiscard]] ouro::loop::KernelResult call() override { return 0; }
  void on_cqe(const ouro::loop::Cqe&) override { done = true; }
};

}  // namespace

int main() {
  const auto context = ouro::loop::AioContext::create();
  if (!context) return 1;
  Nop nop;
  (*context)->start(nop);
  while (!nop.done) (*context)->poll(ouro::loop::Blocking::kYes);
  std::puts("a NOP came back");
}
