#include "loop/poll_fd_monitor.hpp"

#include <cerrno>
#include <ctime>
#include <utility>

#include "loop/aio_context.hpp"

namespace ouro::loop {

class PollFdMonitor::Handler final : public AioHandler {
 public:
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

  Handler(int fd, FdCallbacks callbacks) : AioHandler(fd, std::move(callbacks)) {}

  std::size_t index = kNowhere;  // in fds_ and handlers_

 private:
  [[nodiscard]] bool disarmed() const override { return index == kNowhere; }
};

std::unique_ptr<AioHandler> PollFdMonitor::create_handler(int fd, FdCallbacks callbacks) {
  return std::make_unique<Handler>(fd, std::move(callbacks));
}

void PollFdMonitor::arm(AioHandler& handler) {
  auto& mine = static_cast<Handler&>(handler);
  if (mine.index != Handler::kNowhere) return;
  mine.index = fds_.size();
  fds_.push_back({handler.fd(), static_cast<short>(handler.interest()), 0});
  handlers_.push_back(&mine);
}

void PollFdMonitor::disarm(AioHandler& handler) {
  auto& mine = static_cast<Handler&>(handler);
  const std::size_t at = std::exchange(mine.index, Handler::kNowhere);
  if (at == Handler::kNowhere) return;
  fds_[at] = fds_.back();
  handlers_[at] = handlers_.back();
  if (handlers_[at] != nullptr && handlers_[at] != &mine) handlers_[at]->index = at;
  fds_.pop_back();
  handlers_.pop_back();
}

void PollFdMonitor::watch_ring() {
  if (watches_ring_ || !context_.has_io_uring()) return;
  fds_.push_back({context_.ring().fd(), POLLIN, 0});
  handlers_.push_back(nullptr);
  watches_ring_ = true;
}

int PollFdMonitor::wait(std::int64_t timeout_ns) {
  watch_ring();
  if (!context_.before_foreign_wait(timeout_ns)) timeout_ns = 0;
  const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  const int count = ::ppoll(fds_.data(), fds_.size(), timeout_ns < 0 ? nullptr : &timeout, nullptr);
  if (count <= 0) return 0;
  for (std::size_t i = 0; i < fds_.size();) {
    const auto events = static_cast<std::uint32_t>(static_cast<unsigned short>(fds_[i].revents));
    Handler* const handler = handlers_[i];
    const bool gone = (events & POLLNVAL) != 0 && handler != nullptr;
    // Closed under us: told once, and watched no more. The last entry takes its place.
    gone ? disarm(*handler) : static_cast<void>(++i);
    // The context reaps the ring.
    if (events != 0 && handler != nullptr) context_.fd_table().report(*handler, events);
  }
  return 0;
}

std::span<const pollfd> PollFdMonitor::foreign_fds() {
  watch_ring();
  return fds_;
}

}  // namespace ouro::loop
