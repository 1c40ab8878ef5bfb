// Watching file descriptors: which fd has become ready. One interface with three back ends, on the
// context's own ring (UringFdMonitor), on epoll and on poll.
//
// A back end only collects: readiness into the context's FdTable, completions of the ring into its
// CompletionFifo. It never calls users. Home thread only, but for what says otherwise.
#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

// What to call when the fd is readable (or hung up, or in error) and when it is writable (or in
// error). Level-triggered: a callback that leaves data behind is called again next iteration.
// The callbacks must tolerate a spurious call, so the fd should be non-blocking.
//
// The others are for adaptive polling (adaptive_polling.hpp) and only count with both of the
// first two: `poll` looks in memory whether there is work, and `on_poll_ready` does it, in the
// dispatch phase. `poll_begin` and `poll_end` are called when the loop begins and ends to spin.
// Only on_poll_ready may call the context.
struct FdCallbacks {
  std::function<void()> on_readable;
  std::function<void()> on_writable;
  std::function<bool()> poll = {};
  std::function<void()> on_poll_ready = {};
  std::function<void()> poll_begin = {};
  std::function<void()> poll_end = {};

  [[nodiscard]] bool empty() const { return !on_readable && !on_writable; }
  [[nodiscard]] bool can_poll() const { return poll && on_poll_ready; }
};

// One monitored descriptor. Created and freed by FdTable; the fd is borrowed.
class AioHandler {
 public:
  AioHandler(const AioHandler&) = delete;
  AioHandler& operator=(const AioHandler&) = delete;
  virtual ~AioHandler() = default;

  // Poll events of interest (POLLIN, POLLOUT, ...).
  [[nodiscard]] std::uint32_t interest() const;
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool removed() const { return removed_.load(std::memory_order_acquire); }
  [[nodiscard]] const FdCallbacks& callbacks() const { return callbacks_; }

 protected:
  AioHandler(int fd, FdCallbacks callbacks) : fd_(fd), callbacks_(std::move(callbacks)) {}
  // The back end can free the memory: neither it nor the kernel knows of this handler any more.
  [[nodiscard]] virtual bool disarmed() const = 0;

 private:
  friend class FdTable;

  const int fd_;
  const FdCallbacks callbacks_;
  std::atomic<bool> removed_ = false;
  bool changing_ = false;           // on the table's list of changes; guarded by its lock
  bool known_ = false;              // to the back end
  bool queued_ = false;             // on the table's ready list
  bool poll_ready_ = false;         // `poll` said so, and on_poll_ready has not run yet
  bool in_poll_ready_ = false;      // on_poll_ready runs: `poll` is not asked meanwhile
  std::uint32_t ready_events_ = 0;  // reported, not yet given to a callback
  AioHandler* next_ = nullptr;
};

class FdMonitor {
 public:
  virtual ~FdMonitor() = default;

  // A handler of this back end, not yet armed. Any thread.
  [[nodiscard]] virtual std::unique_ptr<AioHandler> create_handler(int fd,
                                                                   FdCallbacks callbacks) = 0;
  // Has the fd reported as soon as it is ready; idempotent. Called anew after every report, which
  // is what makes a one-shot back end level-triggered.
  virtual void arm(AioHandler& handler) = 0;
  // Stops watching; the handler is freed when disarmed() becomes true. Its fd may be closed, and
  // may be another file by now. Of a handler that never was armed: no effect.
  virtual void disarm(AioHandler& handler) = 0;

  // Submits what is queued on the ring and collects what there is but the ring's completions; waits
  // for something if there is nothing, at most `timeout_ns` (0: not at all, negative: without
  // limit). May return early. Negative is an error of Ring::enter().
  virtual int wait(std::int64_t timeout_ns) = 0;

  // What a foreign loop is to wait for in place of wait(); valid until the next change.
  [[nodiscard]] virtual std::span<const pollfd> foreign_fds() = 0;

  // Whether a spinning loop sees without a system call that a plain fd has become ready.
  [[nodiscard]] virtual bool sees_fds_from_memory() const = 0;
};

}  // namespace ouro::loop
