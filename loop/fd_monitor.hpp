// Watching file descriptors: which fd has become ready. The interface behind AioContext's fd
// handlers; UringFdMonitor is the back end on the context's own ring.
//
// A back end only collects readiness (AioContext runs the callbacks). Home thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

// What to call when the fd is readable (or hung up, or in error) and when it is writable (or in
// error). Level-triggered: a callback that leaves data behind is called again next iteration.
// The callbacks must tolerate a spurious call, so the fd should be non-blocking.
struct FdCallbacks {
  std::function<void()> on_readable;
  std::function<void()> on_writable;
};

// One monitored descriptor. Created and freed by AioContext; the fd is borrowed.
class AioHandler {
 public:
  AioHandler(const AioHandler&) = delete;
  AioHandler& operator=(const AioHandler&) = delete;
  virtual ~AioHandler() = default;

  // Poll events of interest (POLLIN, POLLOUT, ...).
  [[nodiscard]] std::uint32_t interest() const;
  [[nodiscard]] int fd() const { return fd_; }

 protected:
  AioHandler(int fd, FdCallbacks callbacks) : fd_(fd), callbacks_(std::move(callbacks)) {}
  // The back end can free the memory: the kernel knows nothing of this handler any more.
  [[nodiscard]] virtual bool disarmed() const = 0;

 private:
  friend class AioContext;

  int fd_;
  FdCallbacks callbacks_;
  bool removed_ = false;
  bool queued_ = false;             // on the context's ready list
  std::uint32_t ready_events_ = 0;  // reported, not yet given to a callback
  AioHandler* next_ = nullptr;
};

class FdMonitor {
 public:
  virtual ~FdMonitor() = default;

  // A handler of this back end, not yet armed.
  [[nodiscard]] virtual std::unique_ptr<AioHandler> create_handler(int fd,
                                                                   FdCallbacks callbacks) = 0;
  // Reports the fd once, as soon as it is ready.
  virtual void arm(AioHandler& handler) = 0;
  // Stops watching; the handler is freed when disarmed() becomes true.
  virtual void disarm(AioHandler& handler) = 0;
};

}  // namespace ouro::loop
