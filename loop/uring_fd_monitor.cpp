#include "loop/uring_fd_monitor.hpp"

#include <poll.h>

#include <cerrno>
#include <utility>

#include "loop/aio_context.hpp"

namespace ouro::loop {
namespace {

class UringHandler final : public AioHandler, public CqeHandler {
 public:
  UringHandler(AioContext& context, int fd, FdCallbacks callbacks)
      : AioHandler(fd, std::move(callbacks)), CqeHandler(Phase::kReap), context_(context) {}

 private:
  [[nodiscard]] bool disarmed() const override { return state() == State::kIdle; }

  void on_cqe(const Cqe& cqe) override {
    context_.fd_table().report(*this, cqe.res < 0 ? error_events(-cqe.res) : as_events(cqe.res));
  }

  static std::uint32_t as_events(std::int32_t mask) { return static_cast<std::uint32_t>(mask); }

  // A negative result is no poll mask. POLLNVAL makes it one error report, after which nothing is
  // armed: the fd was closed before the poll was (EBADF), or cannot be polled. Short of memory,
  // or if a user's request cancelled the poll, a spurious call comes before the next try.
  static std::uint32_t error_events(int errno_value) {
    const bool passing = errno_value == ENOMEM || errno_value == ECANCELED;
    return as_events(passing ? POLLERR : POLLERR | POLLNVAL);
  }

  AioContext& context_;
};

}  // namespace

std::unique_ptr<AioHandler> UringFdMonitor::create_handler(int fd, FdCallbacks callbacks) {
  return std::make_unique<UringHandler>(context_, fd, std::move(callbacks));
}

void UringFdMonitor::arm(AioHandler& handler) {
  auto& uring_handler = static_cast<UringHandler&>(handler);
  if (uring_handler.state() != CqeHandler::State::kIdle) return;
  context_.add_sqe(
      [&](io_uring_sqe& sqe) {
        sqe.opcode = IORING_OP_POLL_ADD;
        sqe.fd = handler.fd();
        sqe.poll32_events = handler.interest();
      },
      uring_handler);
}

void UringFdMonitor::disarm(AioHandler& handler) {
  context_.cancel(static_cast<UringHandler&>(handler));
  // Until the cancellation reaches the kernel the poll keeps the file open, and its peer would
  // not see it closed.
  context_.submit();
}

int UringFdMonitor::wait(std::int64_t timeout_ns) {
  return context_.ring().enter(timeout_ns);
}

std::span<const pollfd> UringFdMonitor::foreign_fds() {
  ring_ = {context_.ring().fd(), POLLIN, 0};
  return {&ring_, 1};
}

}  // namespace ouro::loop
