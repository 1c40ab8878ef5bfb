#include "loop/fd_table.hpp"

#include <poll.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace ouro::loop {

void FdTable::set(int fd, std::unique_ptr<AioHandler> handler) {
  const auto index = static_cast<std::size_t>(fd);
  const std::lock_guard lock(mutex_);
  if (index >= by_fd_.size()) {
    if (!handler) return;
    by_fd_.resize(std::max(index + 1, by_fd_.size() * 2));
  }
  if (by_fd_[index]) {
    by_fd_[index]->removed_.store(true, std::memory_order_release);
    note_change(*by_fd_[index]);
    removed_.push_back(std::move(by_fd_[index]));
    has_removed_.store(true, std::memory_order_relaxed);
  }
  by_fd_[index] = std::move(handler);
  if (by_fd_[index]) note_change(*by_fd_[index]);
}

void FdTable::note_change(AioHandler& handler) {
  if (std::exchange(handler.changing_, true)) return;
  changes_.push_back(&handler);
  has_changes_.store(true, std::memory_order_release);
}

void FdTable::apply_changes(FdMonitor& monitor) {
  if (!has_changes()) return;
  // The back end may be asked while it is being told: a cancellation can fill the queue of the
  // ring.
  std::vector<AioHandler*> changes = std::exchange(applying_, {});
  {
    const std::lock_guard lock(mutex_);
    std::swap(changes, changes_);
    has_changes_.store(false, std::memory_order_release);
    for (AioHandler* handler : changes) handler->changing_ = false;
  }
  for (AioHandler* handler : changes) {
    handler->removed() ? end(*handler, monitor) : begin(*handler, monitor);
  }
  changes.clear();
  applying_ = std::move(changes);  // keeps its memory
}

void FdTable::begin(AioHandler& handler, FdMonitor& monitor) {
  handler.known_ = true;
  ++known_;
  monitor.arm(handler);
  if (!handler.callbacks_.can_poll()) return;
  pollable_.push_back(&handler);
  if (polling_ && handler.callbacks_.poll_begin) handler.callbacks_.poll_begin();
}

void FdTable::end(AioHandler& handler, FdMonitor& monitor) {
  // It may have been set and removed between two turns of the loop.
  if (!std::exchange(handler.known_, false)) return;
  --known_;
  monitor.disarm(handler);
  if (std::erase(pollable_, &handler) == 0) return;
  if (polling_ && handler.callbacks_.poll_end) handler.callbacks_.poll_end();
}

void FdTable::enqueue(AioHandler& handler, IntrusiveFifo<AioHandler, &AioHandler::next_>& list) {
  if (std::exchange(handler.queued_, true)) return;
  list.push(handler);
}

void FdTable::report(AioHandler& handler, std::uint32_t events) {
  if (handler.removed()) return;
  handler.ready_events_ |= events;
  enqueue(handler, ready_);
}

bool FdTable::ask_pollable() {
  bool found = false;
  for (AioHandler* handler : pollable_) {
    // One whose work is being done, in a loop around this one, would only say so again.
    if (handler->in_poll_ready_ || handler->removed() || !handler->callbacks_.poll()) continue;
    handler->poll_ready_ = true;
    enqueue(*handler, ready_);
    found = true;
  }
  return found;
}

void FdTable::begin_polling() {
  if (std::exchange(polling_, true)) return;
  for (AioHandler* handler : pollable_) {
    if (handler->callbacks_.poll_begin) handler->callbacks_.poll_begin();
  }
}

void FdTable::end_polling() {
  if (!std::exchange(polling_, false)) return;
  for (AioHandler* handler : pollable_) {
    if (handler->callbacks_.poll_end) handler->callbacks_.poll_end();
  }
}

bool FdTable::all_pollable(const OwnFds& own_fds) const {
  const auto own = std::count_if(own_fds.begin(), own_fds.end(), [](int fd) { return fd >= 0; });
  return known_ <= pollable_.size() + static_cast<std::size_t>(own);
}

bool FdTable::dispatch(FdMonitor& monitor, OwnFds own_fds) {
  bool progress = false;
  // No more than there are now: one that is ready for ever must not starve the rest.
  for (auto left = ready_.size(); left > 0; --left) {
    AioHandler* handler = ready_.pop();
    if (handler == nullptr) break;  // a nested loop has run the rest
    handler->queued_ = false;
    if (handler->removed()) continue;
    run_callbacks(*handler, monitor);
    progress |= std::find(own_fds.begin(), own_fds.end(), handler->fd_) == own_fds.end();
  }
  return progress;
}

void FdTable::run_callbacks(AioHandler& handler, FdMonitor& monitor) {
  const FdCallbacks& callbacks = handler.callbacks_;
  if (std::exchange(handler.poll_ready_, false)) {
    handler.in_poll_ready_ = true;
    callbacks.on_poll_ready();
    handler.in_poll_ready_ = false;
    if (handler.removed()) return;
  }
  const std::uint32_t events = std::exchange(handler.ready_events_, 0);
  if (events == 0) return;
  // Armed before the callbacks run, because a loop nested in them must see what comes next.
  if ((events & POLLNVAL) == 0) monitor.arm(handler);
  // The kernel reports POLLHUP and POLLERR whether asked for or not, and for ever: somebody must
  // be told.
  const std::uint32_t failed = POLLERR | POLLNVAL;
  const std::uint32_t writable = POLLOUT | failed | (callbacks.on_readable ? 0U : POLLHUP);
  if (callbacks.on_readable && (events & (POLLIN | POLLHUP | failed)) != 0) callbacks.on_readable();
  if (handler.removed()) return;
  if (callbacks.on_writable && (events & writable) != 0) callbacks.on_writable();
}

void FdTable::free_removed() {
  if (!has_removed()) return;
  std::vector<std::unique_ptr<AioHandler>> freed;  // without the lock: callbacks own what they like
  const std::lock_guard lock(mutex_);
  const auto free = std::partition(removed_.begin(), removed_.end(), [](const auto& handler) {
    return !handler->disarmed() || handler->queued_ || handler->changing_;
  });
  freed.assign(std::move_iterator(free), std::move_iterator(removed_.end()));
  removed_.erase(free, removed_.end());
  has_removed_.store(!removed_.empty(), std::memory_order_relaxed);
}

void FdTable::clear() {
  for (std::size_t fd = 0; fd < by_fd_.size(); ++fd) set(static_cast<int>(fd), nullptr);
  while (AioHandler* handler = ready_.pop()) handler->queued_ = false;
}

}  // namespace ouro::loop
