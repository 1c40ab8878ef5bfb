// How an AioContext begins, with the choice of ring and back end, and how it ends.
#include <cerrno>
#include <string>
#include <utility>

#include "loop/aio_context.hpp"
#include "loop/epoll_fd_monitor.hpp"
#include "loop/invariant.hpp"
#include "loop/poll_fd_monitor.hpp"
#include "loop/uring_fd_monitor.hpp"

namespace ouro::loop {
namespace {

// Whether the contexts of this process have rings; the one thing that they must agree upon, so
// that what is built for one of them works on every other.
enum class RingPolicy : std::uint8_t { kUndecided, kRings, kNoRings };

std::atomic<RingPolicy>& ring_policy() {
  static std::atomic<RingPolicy> policy = RingPolicy::kUndecided;
  return policy;
}

// What a context cannot do without on a ring.
Status check_opcodes(const Ring& ring) {
  const bool complete = ring.supports(IORING_OP_POLL_ADD) && ring.supports(IORING_OP_ASYNC_CANCEL);
  if (!complete) return fail(ENOSYS);
  return {};
}

Result<std::unique_ptr<Ring>> create_ring(const RingOptions& options) {
  OURO_TRY_ASSIGN(auto ring, Ring::create(options));
  OURO_TRY(check_opcodes(*ring));
  return ring;
}

// Whether poll() or epoll waits, for the ring among others.
bool polls_ring(const AioOptions& options) {
  return options.drive == Drive::kForeign || options.backend == Backend::kEpoll ||
         options.backend == Backend::kPoll;
}

// Errors that say "not here" and not "not now".
bool means_absent(Errno error) {
  switch (error.value()) {
    case ENOSYS:
    case EPERM:
    case EACCES:
    case ENOMEM:
      return true;
    default:
      return false;
  }
}

Result<std::unique_ptr<Ring>> choose_ring(const AioOptions& options) {
  if (options.ring_use == RingUse::kNever) return nullptr;
  std::atomic<RingPolicy>& policy = ring_policy();
  if (policy.load() == RingPolicy::kNoRings && options.backend != Backend::kUring) return nullptr;
  RingOptions wanted = options.ring;
  wanted.polled |= polls_ring(options);
  auto ring = create_ring(wanted);
  RingPolicy undecided = RingPolicy::kUndecided;
  if (ring) {
    policy.compare_exchange_strong(undecided, RingPolicy::kRings);
    return ring;
  }
  if (options.backend == Backend::kUring || !means_absent(ring.error())) return ring;
  if (!policy.compare_exchange_strong(undecided, RingPolicy::kNoRings)) {
    if (undecided == RingPolicy::kNoRings) return nullptr;
    return ring;
  }
  if (options.log) {
    options.log(LogLevel::kWarning, "io_uring cannot be used (errno " +
                                        std::to_string(ring.error().value()) +
                                        "): system calls and epoll take its place");
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<AioContext>> AioContext::create(const AioOptions& options) {
  OURO_TRY_ASSIGN(auto ring, choose_ring(options));
  OURO_TRY_ASSIGN(auto notifier, EventNotifier::create());
  std::unique_ptr<AioContext> context(
      new AioContext(options, std::move(ring), std::move(notifier)));
  OURO_TRY(context->choose_backend(options));
  return context;
}

AioContext::AioContext(const AioOptions& options, std::unique_ptr<Ring> ring,
                       EventNotifier notifier)
    : log_(options.log),
      on_destroy_(options.on_destroy),
      destroy_timeout_ns_(options.destroy_timeout_ns),
      ring_(std::move(ring)),
      notifier_(std::move(notifier)),
      polling_(options.polling) {}

Status AioContext::choose_backend(const AioOptions& options) {
  backend_ = options.backend;
  if (backend_ == Backend::kAuto) backend_ = ring_ ? Backend::kUring : Backend::kEpoll;
  if (backend_ == Backend::kUring && !ring_) return fail(ENOSYS);
  if (backend_ == Backend::kUring) {
    monitor_ = std::make_unique<UringFdMonitor>(*this);
  } else if (backend_ == Backend::kEpoll) {
    OURO_TRY_ASSIGN(monitor_, EpollFdMonitor::create(*this));
  } else {
    monitor_ = std::make_unique<PollFdMonitor>(*this);
  }
  set_fd_handler(notifier_.fd(), {[this] { notifier_.test_and_clear(); }, {}});
  return {};
}

AioContext::~AioContext() {
  invariant(in_home_thread() && depth_ == 0, "an AioContext is destroyed at home, outside poll()");
  if (!monitor_) return;
  ++depth_;
  fds_.clear();
  fds_.apply_changes(*monitor_);
  finish_requests();
  if (in_flight_ > 0 || !ready_.empty()) drop_requests();
  --depth_;
  fds_.free_removed();
}

void AioContext::finish_requests() {
  const std::int64_t give_up_ns = monotonic_now_ns() + destroy_timeout_ns_;
  for (unsigned turn = 0; monotonic_now_ns() < give_up_ns; ++turn) {
    if (on_destroy_ == OnDestroy::kCancel) dispatch_completions();
    if (in_flight_ == 0 && (ready_.empty() || on_destroy_ == OnDestroy::kDrop)) return;
    if (!ring_) continue;
    // Again and again, because completions may have submitted more, but not while there are some to
    // reap: it looks at all requests.
    const std::uint64_t before = in_flight_;
    enter_ring(0);
    if (in_flight_ < before && turn % kTurnsPerCancellation != 0) continue;
    cancel_all();
    // Not at once, because a cancellation that fails has a completion, which would end the wait.
    enter_ring(0);
    if (in_flight_ > 0 && ready_.empty()) enter_ring(kDestroyTurnNs);
    if (on_destroy_ == OnDestroy::kDrop) return;
  }
}

void AioContext::cancel_all() {
  if (in_flight_ == 0) return;
  io_uring_sqe& sqe = reserve_sqe();
  sqe.opcode = IORING_OP_ASYNC_CANCEL;
  sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
  sqe.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
}

void AioContext::drop_requests() {
  while (!ready_.empty()) (void)ready_.pop();
  if (in_flight_ == 0) return;
  if (on_destroy_ == OnDestroy::kCancel && log_) {
    log_(LogLevel::kError,
         "dropped " + std::to_string(in_flight_) + " requests that the kernel does not let go of");
  }
  fate_->dropped = true;
  // What handlers refer to for as long as they live, which nobody here knows.
  static std::atomic<ContextFate*> last_dropped = nullptr;
  fate_->before = last_dropped.load();
  while (!last_dropped.compare_exchange_weak(fate_->before, fate_.get())) {
  }
  (void)fate_.release();
}

}  // namespace ouro::loop
