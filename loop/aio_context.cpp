// One iteration, waiting and waking. SQEs and completions: aio_context_sqe.cpp; the beginning and
// the end: aio_context_life.cpp.
#include "loop/aio_context.hpp"

#include <sys/timerfd.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <memory>
#include <utility>

#include "loop/invariant.hpp"

namespace ouro::loop {
namespace {

// The earlier of two time spans of which negative ones mean "for ever".
std::int64_t earlier(std::int64_t a, std::int64_t b) {
  if (a < 0) return b;
  return b < 0 ? a : std::min(a, b);
}

}  // namespace

inline std::int64_t AioContext::timeout_ns() const {
  if (!ready_.empty() || fds_.has_ready() || bottom_halves_.pending()) return 0;
  std::int64_t timeout = bottom_halves_.idle_timeout_ns();
  for (const TimerHeap& timers : timers_) timeout = earlier(timeout, timers.timeout_ns());
  return timeout;
}

bool AioContext::poll(Blocking blocking) {
  invariant(in_home_thread(), "AioContext::poll() was called outside its home thread");
  ++depth_;
  ++counters_.iterations;
  if (fds_.has_changes()) fds_.apply_changes(*monitor_);
  wait(blocking == Blocking::kYes ? timeout_ns() : 0);
  bool progress = dispatch_completions();
  if (bottom_halves_.pending()) progress |= bottom_halves_.run();
  if (fds_.has_ready()) progress |= fds_.dispatch(*monitor_, own_fds());
  for (TimerHeap& timers : timers_) {
    if (!timers.empty()) progress |= timers.run_expired();
  }
  if (!progress) bottom_halves_.run_idle();
  if (--depth_ == 0 && fds_.has_removed()) fds_.free_removed();
  return progress;
}

[[gnu::always_inline]] inline void AioContext::wait(std::int64_t timeout) {
  if (timeout == 0) return collect(0);
  const std::int64_t began_ns = polling_.enabled() ? monotonic_now_ns() : 0;
  const bool found = polling_.enabled() && spin(timeout);
  if (!found) {
    if (polling_.enabled()) {
      fds_.end_polling();
      timeout = timeout_ns();  // spinning took its part
    }
    // Pairs with notify(): whoever stores notified_ before this line is seen by the check below,
    // whoever stores it later sees notify_me_ and writes the eventfd.
    notify_me_.fetch_add(1, std::memory_order_seq_cst);
    if (fds_.has_pollable() && fds_.ask_pollable()) timeout = 0;  // between the last look and here
    // What the wait returns says little: a signal can end it early, with the count of submitted
    // SQEs. Only the lists tell whether there is something to do.
    while (timeout != 0 && !notified_.load(std::memory_order_seq_cst) &&
           !bottom_halves_.pending()) {
      collect(timeout);
      timeout = timeout_ns();
    }
    // Only the home thread writes it.
    notify_me_.store(notify_me_.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  }
  if (polling_.enabled() && !notified_.load(std::memory_order_relaxed)) {
    polling_.tune(monotonic_now_ns() - began_ns);
  }
  if (notified_.load(std::memory_order_relaxed)) {
    notified_.exchange(false, std::memory_order_acq_rel);
    collect(0);  // SQEs that were queued must not wait for the next iteration
  }
}

// A return to what was called before a system call costs 7 ns more than another one (measured on
// 6.18, AMD with Safe RET), so poll() is to be the only one: wait() and this are part of it, a back
// end's wait() can leave by a jump, and what was completed is reaped by a call of its own.
inline void AioContext::collect(std::int64_t timeout) {
  const int rc = monitor_->wait(timeout);
  if (rc < 0) after_failed_enter(rc);
  if (ring_) reap();
}

// Looks for work in memory; true if the loop must not sleep.
bool AioContext::spin(std::int64_t timeout) {
  const bool worth_it = fds_.has_pollable() && polling_.current_ns() > 0 &&
                        (monitor_->sees_fds_from_memory() || fds_.all_pollable(own_fds()));
  if (!worth_it) return false;
  collect(0);  // what is queued goes out first
  if (timeout_ns() == 0) return true;
  const std::int64_t limit_ns = earlier(timeout, polling_.current_ns());
  const std::int64_t end_ns = monotonic_now_ns() + limit_ns;
  fds_.begin_polling();
  do {
    const bool found = fds_.ask_pollable() || (ring_ && ring_->needs_enter()) ||
                       bottom_halves_.pending() || notified_.load(std::memory_order_relaxed);
    if (!found) continue;
    ++counters_.polled;
    collect(0);
    // The ring had nothing but news for itself: no reason to stay awake.
    return timeout_ns() == 0 || notified_.load(std::memory_order_relaxed);
  } while (monotonic_now_ns() < end_ns);
  return false;
}

bool AioContext::before_foreign_wait(std::int64_t timeout) {
  if (!ring_) return timeout != 0;
  enter_ring(0);
  return timeout != 0 && ready_.empty() && !fds_.has_ready() && !ring_->needs_enter();
}

// --- driven by a foreign loop --------------------------------------------------------------------

std::int64_t AioContext::foreign_prepare() {
  invariant(in_home_thread(), "a foreign loop drives an AioContext in its home thread only");
  fds_.apply_changes(*monitor_);
  if (!std::exchange(foreign_waits_, true)) notify_me_.fetch_add(1, std::memory_order_seq_cst);
  std::int64_t timeout = notified_.load(std::memory_order_seq_cst) ? 0 : timeout_ns();
  if (!before_foreign_wait(timeout)) timeout = 0;
  if (timeout == 0) (void)foreign_check();
  return timeout;
}

bool AioContext::foreign_check() {
  if (ring_) enter_ring(0);
  if (std::exchange(foreign_waits_, false)) notify_me_.fetch_sub(1, std::memory_order_release);
  const bool notified = notified_.exchange(false, std::memory_order_acq_rel);
  return notified || timeout_ns() == 0 || fds_.has_changes();
}

// --- file descriptors ----------------------------------------------------------------------------

void AioContext::set_fd_handler(int fd, FdCallbacks callbacks) {
  invariant(fd >= 0, "an fd handler was set for no fd");
  fds_.set(fd, callbacks.empty() ? nullptr : monitor_->create_handler(fd, std::move(callbacks)));
  in_home_thread() ? fds_.apply_changes(*monitor_) : notify();
}

void AioContext::remove_fd_handler(int fd) {
  set_fd_handler(fd, {});
}

// --- calls and waking ----------------------------------------------------------------------------

void AioContext::post(std::function<void()> call) {
  auto bh = std::make_unique<BottomHalf>(*this, std::move(call));
  bh->freed_after_run_ = true;
  bh.release()->schedule();  // the queue's from now on
}

void AioContext::notify() {
  notified_.store(true, std::memory_order_seq_cst);
  if (notify_me_.load(std::memory_order_seq_cst) == 0) return;
  notify_writes_.fetch_add(1, std::memory_order_relaxed);
  notifier_.set();
}

void AioContext::notify_of_call() {
  // In the home thread nobody sleeps, and the loop looks at the calls before it does. A signal
  // handler may have come between that look and notify_me_, after which it looks once more.
  if (in_home_thread() && notify_me_.load(std::memory_order_relaxed) == 0) return;
  notify();
}

// --- timers --------------------------------------------------------------------------------------

TimerHeap& AioContext::timers(Clock clock) {
  if (clock == Clock::kWall && !wall_clock_) watch_wall_clock();
  return timers_[static_cast<std::size_t>(clock)];
}

// KERNEL(3.0): TFD_TIMER_CANCEL_ON_SET makes a timerfd readable when the wall clock is set, upon
// which the timeout of the next wait is another one.
void AioContext::watch_wall_clock() {
  wall_clock_ = UniqueFd(::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!wall_clock_) return;  // timers are then late by as much as the clock is set
  const auto rearm = [this] {
    constexpr itimerspec kNever = {{0, 0}, {std::numeric_limits<time_t>::max(), 0}};
    (void)::timerfd_settime(wall_clock_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &kNever,
                            nullptr);
  };
  rearm();
  set_fd_handler(wall_clock_.get(), {rearm, {}});
}

}  // namespace ouro::loop
