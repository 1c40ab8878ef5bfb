#include "loop/epoll_fd_monitor.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "loop/aio_context.hpp"

namespace ouro::loop {

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
              EPOLLHUP == POLLHUP);

// KERNEL: an epoll set knows files, not descriptors, so a registration lives on if a duplicate of a
// closed fd does. The token tells such a ghost from whoever has the number now.
class EpollFdMonitor::Handler final : public AioHandler {
 public:
  enum class Place : std::uint8_t { kNone, kEpoll, kAlwaysReady };

  Handler(int fd, FdCallbacks callbacks) : AioHandler(fd, std::move(callbacks)) {}

  Place place = Place::kNone;
  std::uint64_t token = 0;

 private:
  [[nodiscard]] bool disarmed() const override { return place == Place::kNone; }
};

namespace {
constexpr std::uint64_t kRingToken = ~std::uint64_t{0};
constexpr std::uint64_t kAlwaysToken = kRingToken - 1;
}  // namespace

Result<std::unique_ptr<EpollFdMonitor>> EpollFdMonitor::create(AioContext& context) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail(errno);
  OURO_TRY_ASSIGN(auto always, EventNotifier::create());
  always.set();
  return std::unique_ptr<EpollFdMonitor>(
      new EpollFdMonitor(context, std::move(epoll), std::move(always)));
}

std::unique_ptr<AioHandler> EpollFdMonitor::create_handler(int fd, FdCallbacks callbacks) {
  return std::make_unique<Handler>(fd, std::move(callbacks));
}

int EpollFdMonitor::add(int fd, std::uint32_t events, std::uint64_t token) {
  epoll_event event{events, {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  if (errno != EEXIST) return errno;
  // A ghost of the same file and number: taken over.
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
}

void EpollFdMonitor::arm(AioHandler& handler) {
  auto& mine = static_cast<Handler&>(handler);
  if (mine.place != Handler::Place::kNone) return;
  register_fd(mine);
}

void EpollFdMonitor::register_fd(Handler& handler) {
  const auto fd = static_cast<std::size_t>(handler.fd());
  handler.token = (std::uint64_t{++generation_} << 32U) | fd;
  switch (add(handler.fd(), handler.interest(), handler.token)) {
    case 0:
      if (fd >= by_fd_.size()) by_fd_.resize(std::max(fd + 1, by_fd_.size() * 2));
      by_fd_[fd] = &handler;
      handler.place = Handler::Place::kEpoll;
      return;
    case EPERM:  // a regular file or directory, which poll() calls ready
      (void)add(always_.fd(), EPOLLIN, kAlwaysToken);
      always_ready_.push_back(&handler);
      handler.place = Handler::Place::kAlwaysReady;
      return;
    case EBADF:
      return context_.fd_table().report(handler, POLLERR | POLLNVAL);
    default:  // ENOMEM, ENOSPC: a spurious call before the next try
      return context_.fd_table().report(handler, POLLERR);
  }
}

void EpollFdMonitor::disarm(AioHandler& handler) {
  auto& mine = static_cast<Handler&>(handler);
  switch (std::exchange(mine.place, Handler::Place::kNone)) {
    case Handler::Place::kNone:
      return;
    case Handler::Place::kAlwaysReady:
      std::erase(always_ready_, &mine);
      if (always_ready_.empty()) {
        (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, always_.fd(), nullptr);
      }
      return;
    case Handler::Place::kEpoll:
      by_fd_[static_cast<std::size_t>(mine.fd())] = nullptr;
      // ENOENT, EBADF: the fd was closed before, and is another file or none by now.
      (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, mine.fd(), nullptr);
      return;
  }
}

void EpollFdMonitor::watch_ring() {
  if (watches_ring_ || !context_.has_io_uring()) return;
  watches_ring_ = add(context_.ring().fd(), EPOLLIN, kRingToken) == 0;
}

int EpollFdMonitor::wait(std::int64_t timeout_ns) {
  watch_ring();
  if (!context_.before_foreign_wait(timeout_ns)) timeout_ns = 0;
  const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  std::array<epoll_event, kMaxEvents> events;
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), kMaxEvents,
                                   timeout_ns < 0 ? nullptr : &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events[static_cast<std::size_t>(i)];
    if (take(event.data.u64, event.events)) continue;
    rebuild();
    break;
  }
  return 0;
}

bool EpollFdMonitor::take(std::uint64_t token, std::uint32_t events) {
  if (token == kRingToken) return true;  // which the context reaps
  if (token == kAlwaysToken) {
    for (Handler* handler : always_ready_) {
      context_.fd_table().report(*handler, handler->interest() & (POLLIN | POLLOUT));
    }
    return true;
  }
  const auto fd = static_cast<std::size_t>(token & 0xffffffffU);
  if (fd >= by_fd_.size() || by_fd_[fd] == nullptr || by_fd_[fd]->token != token) return false;
  context_.fd_table().report(*by_fd_[fd], events);
  return true;
}

// The only way to be rid of a ghost, which has no number by which it could be removed.
void EpollFdMonitor::rebuild() {
  UniqueFd fresh(::epoll_create1(EPOLL_CLOEXEC));
  if (!fresh) return;  // it will be reported again
  epoll_ = std::move(fresh);
  watches_ring_ = false;
  watch_ring();
  if (!always_ready_.empty()) (void)add(always_.fd(), EPOLLIN, kAlwaysToken);
  for (Handler* handler : std::exchange(by_fd_, {})) {
    if (handler == nullptr) continue;
    handler->place = Handler::Place::kNone;
    register_fd(*handler);
  }
}

std::span<const pollfd> EpollFdMonitor::foreign_fds() {
  watch_ring();
  foreign_ = {epoll_.get(), POLLIN, 0};
  return {&foreign_, 1};
}

}  // namespace ouro::loop
