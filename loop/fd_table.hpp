// The fd handlers of one context, by fd: setting and removing from any thread, what is ready, and
// running the callbacks.
//
// Handlers are never changed, only replaced: a removed one is marked at once, so that no callback
// of it begins any more in the home thread, and freed when neither a nested loop nor the back end
// refers to it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "loop/fd_monitor.hpp"
#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

class FdTable {
 public:
  // Descriptors of the loop itself, or -1.
  using OwnFds = std::array<int, 2>;

  FdTable() = default;
  FdTable(const FdTable&) = delete;
  FdTable& operator=(const FdTable&) = delete;

  // Replaces the handler of `fd` by `handler`, or removes it (null). Any thread; takes effect with
  // the next apply_changes().
  void set(int fd, std::unique_ptr<AioHandler> handler);
  // Whether there are changes that were not applied. Any thread.
  [[nodiscard]] bool has_changes() const { return has_changes_.load(std::memory_order_acquire); }

  // The rest: home thread.

  // Arms and disarms what was set and removed, in order.
  void apply_changes(FdMonitor& monitor);
  // For the back end: `events` (POLL*) happened. POLLNVAL: the fd is none any more, and is not
  // armed again.
  void report(AioHandler& handler, std::uint32_t events);
  // Asks the handlers that can be asked from memory; true if one of them has work, which is then
  // ready.
  [[nodiscard]] bool ask_pollable();
  [[nodiscard]] bool has_pollable() const { return !pollable_.empty(); }
  // Whether every fd but those of `own_fds` can be asked.
  [[nodiscard]] bool all_pollable(const OwnFds& own_fds) const;
  // Tells them that asking begins or has ended.
  void begin_polling();
  void end_polling();
  [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
  // Runs the callbacks of what is ready now; true if any but those of `own_fds` ran.
  bool dispatch(FdMonitor& monitor, OwnFds own_fds);
  // Frees what was removed, if there is any. Not inside a callback.
  void free_removed();
  [[nodiscard]] bool has_removed() const { return has_removed_.load(std::memory_order_relaxed); }
  // Removes everything.
  void clear();

 private:
  static void enqueue(AioHandler& handler, IntrusiveFifo<AioHandler, &AioHandler::next_>& list);
  void note_change(AioHandler& handler);
  void begin(AioHandler& handler, FdMonitor& monitor);
  void end(AioHandler& handler, FdMonitor& monitor);
  void run_callbacks(AioHandler& handler, FdMonitor& monitor);

  std::mutex mutex_;
  std::atomic<bool> has_changes_ = false;
  std::atomic<bool> has_removed_ = false;
  // Guarded by mutex_:
  std::vector<std::unique_ptr<AioHandler>> by_fd_;
  std::vector<std::unique_ptr<AioHandler>> removed_;  // may still be referred to
  std::vector<AioHandler*> changes_;
  // Home thread only:
  std::vector<AioHandler*> applying_;
  std::vector<AioHandler*> pollable_;
  std::size_t known_ = 0;  // handlers that the back end knows, the loop's own included
  bool polling_ = false;
  IntrusiveFifo<AioHandler, &AioHandler::next_> ready_;
};

}  // namespace ouro::loop
