// The fd monitor on epoll, for a context without a ring, or where an epoll is wanted: the kernel
// keeps the list of descriptors, and a wait costs what is ready and not what is watched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loop/event_notifier.hpp"
#include "loop/fd_monitor.hpp"
#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::loop {

class AioContext;

class EpollFdMonitor final : public FdMonitor {
 public:
  // Errors: EMFILE, ENFILE, ENOMEM.
  [[nodiscard]] static Result<std::unique_ptr<EpollFdMonitor>> create(AioContext& context);

  [[nodiscard]] std::unique_ptr<AioHandler> create_handler(int fd, FdCallbacks callbacks) override;
  void arm(AioHandler& handler) override;
  void disarm(AioHandler& handler) override;
  int wait(std::int64_t timeout_ns) override;
  [[nodiscard]] std::span<const pollfd> foreign_fds() override;
  [[nodiscard]] bool sees_fds_from_memory() const override { return false; }

 private:
  class Handler;
  static constexpr int kMaxEvents = 128;

  EpollFdMonitor(AioContext& context, UniqueFd epoll, EventNotifier always)
      : context_(context), epoll_(std::move(epoll)), always_(std::move(always)) {}

  [[nodiscard]] int add(int fd, std::uint32_t events, std::uint64_t token);
  void register_fd(Handler& handler);
  void watch_ring();
  // False if the event came from a registration that is none of ours any more.
  [[nodiscard]] bool take(std::uint64_t token, std::uint32_t events);
  void rebuild();

  AioContext& context_;
  UniqueFd epoll_;
  std::vector<Handler*> by_fd_;         // registered
  std::vector<Handler*> always_ready_;  // of files that epoll does not take
  const EventNotifier always_;          // stands for them in the set: is always readable
  std::uint32_t generation_ = 0;
  bool watches_ring_ = false;
  pollfd foreign_{};
};

}  // namespace ouro::loop
