#include "loop/aio_context.hpp"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "loop/invariant.hpp"
#include "loop/uring_fd_monitor.hpp"

namespace ouro::loop {

Result<std::unique_ptr<AioContext>> AioContext::create(const RingOptions& options) {
  OURO_TRY_ASSIGN(auto ring, Ring::create(options));
  OURO_TRY_ASSIGN(auto notifier, EventNotifier::create());
  return std::unique_ptr<AioContext>(new AioContext(std::move(ring), std::move(notifier)));
}

AioContext::AioContext(std::unique_ptr<Ring> ring, EventNotifier notifier)
    : ring_(std::move(ring)),
      notifier_(std::move(notifier)),
      monitor_(std::make_unique<UringFdMonitor>(*this)) {
  set_fd_handler(notifier_.fd(), {[this] { notifier_.test_and_clear(); }, {}});
}

AioContext::~AioContext() {
  invariant(in_home_thread() && depth_ == 0, "an AioContext is destroyed at home, outside poll()");
  for (std::size_t fd = 0; fd < fd_handlers_.size(); ++fd) {
    if (fd_handlers_[fd]) remove_fd_handler(static_cast<int>(fd));
  }
  const std::int64_t give_up_ns = monotonic_now_ns() + kDestroyTimeoutNs;
  ++depth_;
  while ((in_flight_ > 0 || !ready_.empty()) && monotonic_now_ns() < give_up_ns) {
    dispatch_completions();
    cancel_all();  // every time, because completions may have submitted more
    enter(ready_.empty() ? kDestroyTurnNs : 0);
    reap();
  }
  --depth_;
  while (AioHandler* handler = ready_fds_.pop()) handler->queued_ = false;
  free_retired();
  invariant(in_flight_ == 0 && ready_.empty(),
            "an AioContext was destroyed with requests that cannot be cancelled");
}

void AioContext::cancel_all() {
  if (in_flight_ == 0) return;
  io_uring_sqe& sqe = reserve_sqe();
  sqe.opcode = IORING_OP_ASYNC_CANCEL;
  sqe.flags = IOSQE_CQE_SKIP_SUCCESS;  // its own completion would end the wait
  sqe.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
}

// --- one iteration -------------------------------------------------------------------------------

bool AioContext::poll(Blocking blocking) {
  invariant(in_home_thread(), "AioContext::poll() was called outside its home thread");
  ++depth_;
  ++counters_.iterations;
  wait(blocking == Blocking::kYes ? timeout_ns() : 0);
  bool progress = dispatch_completions();
  progress |= bottom_halves_.run();
  progress |= dispatch_fds();
  progress |= timers_.run_expired();
  if (--depth_ == 0) free_retired();
  return progress;
}

std::int64_t AioContext::timeout_ns() const {
  if (!ready_.empty() || !ready_fds_.empty() || bottom_halves_.pending()) return 0;
  return timers_.timeout_ns();
}

void AioContext::wait(std::int64_t timeout) {
  if (timeout == 0) {
    enter(0);
    reap();
    return;
  }
  // Pairs with notify(): whoever stores notified_ before this line is seen by the check below,
  // whoever stores it later sees notify_me_ and writes the eventfd.
  notify_me_.fetch_add(1, std::memory_order_seq_cst);
  // What enter() returns says little: a signal can end the wait early with the count of submitted
  // SQEs. Only the lists tell whether there is something to do.
  while (timeout != 0 && !notified_.load(std::memory_order_seq_cst)) {
    enter(timeout);
    reap();
    timeout = timeout_ns();
  }
  notify_me_.fetch_sub(1, std::memory_order_release);
  if (notified_.exchange(false, std::memory_order_acq_rel)) {
    enter(0);  // SQEs that were queued must not wait for the next iteration
    reap();
  }
}

void AioContext::enter(std::int64_t timeout) {
  const KernelResult rc = ring_->enter(timeout);
  // Out of memory, or too many completions unreaped: nothing is lost, the SQEs stay queued. Let
  // others run before the next try.
  const bool out_of_resources = rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
  if (out_of_resources) ::sched_yield();
  invariant(rc >= 0 || out_of_resources || rc == -EINTR || rc == -ETIME,
            "io_uring_enter() refused the context's ring, as it does after fork()");
}

void AioContext::reap() {
  ring_->reap([this](std::uint64_t user_data, const io_uring_cqe& cqe) {
    auto* handler = reinterpret_cast<CqeHandler*>(user_data);
    if (handler == nullptr) return;  // a cancellation's own completion
    --in_flight_;
    ++counters_.cqes_by_opcode[handler->opcode_];
    handler->cqe_ = {cqe.res, cqe.flags};
    if (handler->phase_ == CqeHandler::Phase::kReap) {
      handler->state_ = CqeHandler::State::kIdle;
      handler->on_cqe(handler->cqe_);
      return;
    }
    handler->state_ = CqeHandler::State::kReady;
    ready_.push(*handler);
  });
}

bool AioContext::dispatch_completions() {
  bool progress = false;
  // No more than there are now: a completion that queues the next one must not starve the rest.
  for (auto left = ready_.size(); left > 0; --left) {
    CqeHandler* handler = ready_.pop();
    if (handler == nullptr) break;  // a nested loop has run the rest
    handler->state_ = CqeHandler::State::kIdle;
    const Cqe cqe = handler->cqe_;
    handler->on_cqe(cqe);  // may destroy or resubmit the handler, or nest
    progress = true;
  }
  return progress;
}

// --- SQEs ----------------------------------------------------------------------------------------

io_uring_sqe& AioContext::reserve_sqe() {
  invariant(in_home_thread(), "an SQE was added outside the context's home thread");
  for (;;) {
    if (io_uring_sqe* sqe = ring_->next_sqe()) return *sqe;
    // Full: submit, and make room for completions (EBUSY). Reaping calls no user.
    enter(0);
    reap();
  }
}

void AioContext::commit_sqe(io_uring_sqe& sqe, CqeHandler& handler) {
  invariant(handler.state_ == CqeHandler::State::kIdle, "a CqeHandler was submitted twice");
  sqe.user_data = reinterpret_cast<std::uint64_t>(&handler);
  handler.opcode_ = sqe.opcode;
  handler.state_ = CqeHandler::State::kInFlight;
  ++in_flight_;
}

void AioContext::cancel(CqeHandler& handler) {
  if (handler.state_ != CqeHandler::State::kInFlight) return;
  io_uring_sqe& sqe = reserve_sqe();
  sqe.opcode = IORING_OP_ASYNC_CANCEL;
  sqe.addr = reinterpret_cast<std::uint64_t>(&handler);
}

void AioContext::complete(CqeHandler& handler, std::int32_t result) {
  invariant(in_home_thread(), "a CqeHandler was completed outside the context's home thread");
  invariant(handler.state_ == CqeHandler::State::kIdle, "a CqeHandler was completed twice");
  handler.cqe_ = {result, 0};
  handler.state_ = CqeHandler::State::kReady;
  ++counters_.inline_completions;
  ready_.push(handler);
}

void AioContext::submit() {
  enter(0);
  reap();
}

// --- file descriptors ----------------------------------------------------------------------------

void AioContext::set_fd_handler(int fd, FdCallbacks callbacks) {
  invariant(fd >= 0, "an fd handler was set for no fd");
  remove_fd_handler(fd);
  if (!callbacks.on_readable && !callbacks.on_writable) return;
  const auto index = static_cast<std::size_t>(fd);
  if (index >= fd_handlers_.size()) fd_handlers_.resize(index + 1);
  fd_handlers_[index] = monitor_->create_handler(fd, std::move(callbacks));
  monitor_->arm(*fd_handlers_[index]);
}

void AioContext::remove_fd_handler(int fd) {
  invariant(in_home_thread(), "an fd handler was changed outside the context's home thread");
  const auto index = static_cast<std::size_t>(fd);
  if (index >= fd_handlers_.size() || !fd_handlers_[index]) return;
  AioHandler& handler = *fd_handlers_[index];
  handler.removed_ = true;
  retired_.push_back(std::move(fd_handlers_[index]));
  monitor_->disarm(handler);
}

void AioContext::fd_ready(AioHandler& handler, std::uint32_t events) {
  if (handler.removed_) return;
  handler.ready_events_ |= events;
  if (std::exchange(handler.queued_, true)) return;
  ready_fds_.push(handler);
}

bool AioContext::dispatch_fds() {
  bool progress = false;
  for (auto left = ready_fds_.size(); left > 0; --left) {
    AioHandler* handler = ready_fds_.pop();
    if (handler == nullptr) break;  // a nested loop has run the rest
    handler->queued_ = false;
    if (handler->removed_) continue;
    const bool own_notifier = handler->fd_ == notifier_.fd();
    run_fd_callbacks(*handler);
    progress |= !own_notifier;
  }
  return progress;
}

void AioContext::run_fd_callbacks(AioHandler& handler) {
  const std::uint32_t events = std::exchange(handler.ready_events_, 0);
  // Armed before the callbacks run, because a loop nested in them must see what comes next.
  if ((events & POLLNVAL) == 0) monitor_->arm(handler);
  // The kernel reports POLLHUP and POLLERR whether asked for or not, and for ever: somebody must
  // be told.
  const auto& [on_readable, on_writable] = handler.callbacks_;
  const std::uint32_t failed = POLLERR | POLLNVAL;
  const std::uint32_t writable = POLLOUT | failed | (on_readable ? 0U : POLLHUP);
  if (on_readable && (events & (POLLIN | POLLHUP | failed)) != 0) on_readable();
  if (handler.removed_) return;
  if (on_writable && (events & writable) != 0) on_writable();
}

void AioContext::free_retired() {
  std::erase_if(retired_,
                [](const auto& handler) { return handler->disarmed() && !handler->queued_; });
}

// --- waking --------------------------------------------------------------------------------------

void AioContext::notify() {
  notified_.store(true, std::memory_order_seq_cst);
  if (notify_me_.load(std::memory_order_seq_cst) == 0) return;
  notify_writes_.fetch_add(1, std::memory_order_relaxed);
  notifier_.set();
}

}  // namespace ouro::loop
