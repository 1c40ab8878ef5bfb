// The fd monitor on the context's own ring: a one-shot POLL_ADD per armed descriptor.
//
// One-shot, because that is what makes it level-triggered: arming polls the fd anew, so one that
// is still ready is reported again. (A multishot poll reports edges.) Home thread only.
#pragma once

#include <memory>

#include "loop/fd_monitor.hpp"

namespace ouro::loop {

class AioContext;

class UringFdMonitor final : public FdMonitor {
 public:
  explicit UringFdMonitor(AioContext& context) : context_(context) {}

  [[nodiscard]] std::unique_ptr<AioHandler> create_handler(int fd, FdCallbacks callbacks) override;
  void arm(AioHandler& handler) override;
  void disarm(AioHandler& handler) override;
  int wait(std::int64_t timeout_ns) override;
  [[nodiscard]] std::span<const pollfd> foreign_fds() override;
  [[nodiscard]] bool sees_fds_from_memory() const override { return true; }

 private:
  AioContext& context_;
  pollfd ring_{};
};

}  // namespace ouro::loop
