// The fd monitor on poll(2): what works everywhere, at a cost per wait of all that is watched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loop/fd_monitor.hpp"

namespace ouro::loop {

class AioContext;

class PollFdMonitor final : public FdMonitor {
 public:
  explicit PollFdMonitor(AioContext& context) : context_(context) {}

  [[nodiscard]] std::unique_ptr<AioHandler> create_handler(int fd, FdCallbacks callbacks) override;
  void arm(AioHandler& handler) override;
  void disarm(AioHandler& handler) override;
  int wait(std::int64_t timeout_ns) override;
  [[nodiscard]] std::span<const pollfd> foreign_fds() override;
  [[nodiscard]] bool sees_fds_from_memory() const override { return false; }

 private:
  class Handler;

  void watch_ring();

  AioContext& context_;
  // Side by side; a null handler is the ring.
  std::vector<pollfd> fds_;
  std::vector<Handler*> handlers_;
  bool watches_ring_ = false;
};

}  // namespace ouro::loop
