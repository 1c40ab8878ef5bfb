// The event loop of one thread: an io_uring, fd handlers, bottom halves and timers, after QEMU's
// AioContext. Any component may put its own SQEs on the ring with add_sqe().
//
// Thread: belongs to its home thread, the one that created it. From others may be called only
// notify(), post(), set_fd_handler(), remove_fd_handler() and BottomHalf::schedule().
//
// Nesting: any callback may call poll() on its own context. Every list of pending work is a
// member of the context and is popped one by one, so a nested loop finds what its parent has
// reaped and not dispatched yet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "loop/aio_options.hpp"
#include "loop/bottom_half_queue.hpp"
#include "loop/completion_fifo.hpp"
#include "loop/event_notifier.hpp"
#include "loop/fd_table.hpp"
#include "loop/invariant.hpp"
#include "loop/op.hpp"
#include "loop/ring.hpp"
#include "loop/timer.hpp"
#include "loop/tsan.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::loop {

enum class Blocking : std::uint8_t { kNo, kYes };

// What the loop has done so far; opcodes are IORING_OP_*. Counted where CQEs are reaped, so they
// prove that an operation really went through the ring.
struct LoopCounters {
  std::uint64_t iterations = 0;
  std::uint64_t inline_completions = 0;  // complete(), which is not the ring's work
  std::uint64_t polled = 0;              // times that spinning found work
  std::array<std::uint64_t, 256> cqes_by_opcode{};
};

class AioContext {
 public:
  // Errors: EMFILE or ENFILE, ENOMEM; EINVAL for ring options that the kernel does not take; and
  // those of Ring::create() where another context of the process has a ring already, or
  // Backend::kUring was asked for.
  [[nodiscard]] static Result<std::unique_ptr<AioContext>> create(const AioOptions& options = {});
  AioContext(const AioContext&) = delete;
  AioContext& operator=(const AioContext&) = delete;
  // Ends what is in flight as AioOptions::on_destroy says. Requests that the kernel cannot cancel
  // in time (a uring_cmd, I/O on a dead disk) are dropped, which is logged: their handlers are
  // CqeHandler::State::kDropped, may be destroyed, and what their SQEs point to must stay.
  ~AioContext();

  // One iteration: submit, wait if `blocking` and nothing is due, reap, dispatch. Returns whether
  // anything was done for a user. A blocking call that returns false was woken by notify(), or
  // because the wall clock was set.
  bool poll(Blocking blocking);

  // --- SQEs; only where has_io_uring() -----------------------------------------------------------

  // Whether there is a ring: the same for every context of the process, but for RingUse::kNever.
  [[nodiscard]] bool has_io_uring() const { return ring_ != nullptr; }
  // Whether add_sqe() can be used with IORING_OP_*.
  [[nodiscard]] bool supports(unsigned opcode) const { return ring_ && ring_->supports(opcode); }

  // Puts one SQE on the ring. `prep` is called at once with a cleared SQE and fills in everything
  // but user_data; it must not call the context. `handler` must be idle or running; its on_cqe()
  // runs in a later dispatch phase. Never fails: when the queue is full, queued SQEs are submitted
  // first. Inside an iteration the SQE reaches the kernel with the next poll(), nested or not;
  // outside of one it does at once, or at the end of a SubmitScope.
  //
  // With IOSQE_CQE_SKIP_SUCCESS use add_chain(), which knows when such a request has ended.
  template <typename Prep>
  void add_sqe(Prep&& prep, CqeHandler& handler);

  // Starts an Op: as an SQE, or where the ring or the opcode is not there by its system call, here
  // and now. on_cqe() comes later in both cases.
  void start(Op& op);

  // Puts linked SQEs on the ring, next to each other: each one starts when the one before it has
  // succeeded. `prep(i, sqe)` is called for i = 0 ... handlers.size()-1 and may set
  // IOSQE_IO_HARDLINK (the chain goes on after a failure) and IOSQE_CQE_SKIP_SUCCESS, the latter on
  // any number of links from the first one on, but not with a hard link, not where a LINK_TIMEOUT
  // is next, and neither of them on the last one.
  //
  // Every handler is called once, in order (but a LINK_TIMEOUT that strikes before the one that it
  // ends), when its request ends or because the chain broke (-ECANCELED), except those with
  // IOSQE_CQE_SKIP_SUCCESS that succeeded: these are idle again, without a call, when a later one
  // of the chain is told. (KERNEL: a failed request with that flag silences all behind it; the
  // context tells them.)
  // cancel() of any handler of a chain cancels the request that is running, and so the rest. Where
  // the kernel cannot cancel that any more, or is short of memory, and it succeeds, the chain goes
  // on, and needs another cancel().
  // At most RingOptions::sq_entries.
  template <typename Prep>
  void add_chain(std::span<CqeHandler* const> handlers, Prep&& prep);

  // Asks the kernel to cancel the request of `handler`. Its completion still comes, with
  // -ECANCELED, or with its own result if it was quicker. No-op unless it is in flight.
  void cancel(CqeHandler& handler);

  // Completes an idle `handler` with `result` in the next dispatch phase, as if by a CQE. For
  // executors that do the work themselves: completions never run inside a submission.
  void complete(CqeHandler& handler, std::int32_t result);

  // Hands queued SQEs to the kernel now. poll() does this anyway.
  void submit();

  // --- file descriptors, calls, waking: any thread -----------------------------------------------

  // Monitors `fd` (borrowed) with `callbacks`, replacing an earlier handler of the same fd. Without
  // any callback it removes. Callbacks may replace or remove any handler, nest, and close the fd
  // after removal. Removal in the home thread: no callback begins afterwards, and the kernel has
  // let go of the file. From another thread: one that has begun goes on.
  void set_fd_handler(int fd, FdCallbacks callbacks);
  void remove_fd_handler(int fd);

  // Runs `call` once in the home thread, in one of the next iterations; calls of one thread stay in
  // order. It is dropped if the context ends before.
  void post(std::function<void()> call);

  // Makes a poll() that waits, or is about to wait, return. Async-signal-safe.
  void notify();

  // --- driven by a foreign loop (Drive::kForeign) ------------------------------------------------
  //
  // Instead of poll(kYes): foreign_prepare(), wait for foreign_fds() at most that long,
  // foreign_check(), and poll(kNo) if that says so or an fd is ready.

  // Submits, and returns how many nanoseconds to sleep at most: negative for no limit, 0 for not
  // at all, in which case foreign_check() need not be called.
  [[nodiscard]] std::int64_t foreign_prepare();
  // What to wait for, in the home thread; valid until the next callback or call. With
  // Backend::kUring it is the fd of the ring, always and alone, upon which epoll_wait() can end
  // with EINTR (Ring::fd).
  [[nodiscard]] std::span<const pollfd> foreign_fds() { return monitor_->foreign_fds(); }
  // After the wait: whether poll(kNo) has something to do.
  [[nodiscard]] bool foreign_check();

  // --- what it is --------------------------------------------------------------------------------

  [[nodiscard]] bool in_home_thread() const { return std::this_thread::get_id() == home_; }
  // There must be one.
  [[nodiscard]] Ring& ring() { return *ring_; }
  [[nodiscard]] Backend backend() const { return backend_; }
  [[nodiscard]] const LoopCounters& counters() const { return counters_; }
  [[nodiscard]] unsigned depth() const { return depth_; }  // 1 inside an outermost poll()
  // Wake-ups that had to write the eventfd, because the loop was asleep.
  [[nodiscard]] std::uint64_t notify_writes() const { return notify_writes_.load(); }
  // How long the loop spins at present before it sleeps.
  [[nodiscard]] std::int64_t polling_ns() const { return polling_.current_ns(); }

  // --- for the parts of the loop -----------------------------------------------------------------

  [[nodiscard]] BottomHalfQueue& bottom_halves() { return bottom_halves_; }
  // notify(), after a call was pushed to bottom_halves().
  void notify_of_call();
  [[nodiscard]] TimerHeap& timers(Clock clock);
  [[nodiscard]] FdTable& fd_table() { return fds_; }
  // Submits, waits as Ring::enter() does, and reaps.
  void enter_ring(std::int64_t timeout_ns);
  // Before a wait that is not the ring's own, for Ring::fd() among others: submits; false if there
  // is something to do, so that the wait must not be long.
  [[nodiscard]] bool before_foreign_wait(std::int64_t timeout_ns);

 private:
  friend class SubmitScope;
  static constexpr std::int64_t kDestroyTurnNs = 10'000'000;
  static constexpr unsigned kTurnsPerCancellation = 64;

  AioContext(const AioOptions& options, std::unique_ptr<Ring> ring, EventNotifier notifier);
  [[nodiscard]] Status choose_backend(const AioOptions& options);

  [[nodiscard]] io_uring_sqe& reserve_sqe();
  void reserve_chain(std::size_t links);
  void commit_sqe(io_uring_sqe& sqe, CqeHandler& handler);
  void commit_link(io_uring_sqe& sqe, std::span<CqeHandler* const> handlers, std::size_t at);
  void queue_cancellation(std::uint64_t user_data);
  void cancel_chain(const CqeHandler& handler);
  void submit_if_outside();
  void wait(std::int64_t timeout_ns);
  void collect(std::int64_t timeout_ns);
  [[nodiscard]] bool spin(std::int64_t timeout_ns);
  void look_again();
  [[nodiscard]] std::int64_t timeout_ns() const;
  void reap();
  static void after_failed_enter(int rc);
  void take_cqe(CqeHandler& handler, const Cqe& cqe);
  void take_link(CqeHandler& handler, const Cqe& cqe);
  void break_chain(CqeHandler& handler);
  void deliver(CqeHandler& handler, const Cqe& cqe);
  void end_link(CqeHandler& handler);
  void cancel_all();
  void finish_requests();
  void drop_requests();
  bool dispatch_completions();
  void run_handler(CqeHandler& handler, const Cqe& cqe);
  void watch_wall_clock();
  [[nodiscard]] FdTable::OwnFds own_fds() const { return {notifier_.fd(), wall_clock_.get()}; }

  const std::thread::id home_ = std::this_thread::get_id();
  const LogSink log_;
  const OnDestroy on_destroy_;
  const std::int64_t destroy_timeout_ns_;
  std::unique_ptr<ContextFate> fate_ = std::make_unique<ContextFate>();
  const std::unique_ptr<Ring> ring_;  // null: there is none
  const EventNotifier notifier_;
  Backend backend_ = Backend::kUring;
  std::unique_ptr<FdMonitor> monitor_;

  unsigned depth_ = 0;
  unsigned submit_scopes_ = 0;
  std::uint64_t in_flight_ = 0;
  CompletionFifo ready_;
  FdTable fds_;
  BottomHalfQueue bottom_halves_;
  std::array<TimerHeap, kClocks> timers_ = {TimerHeap(Clock::kMonotonic), TimerHeap(Clock::kWall)};
  UniqueFd wall_clock_;  // becomes readable when the wall clock is set
  AdaptivePolling polling_;
  bool foreign_waits_ = false;

  std::atomic<unsigned> notify_me_ = 0;  // poll() calls between "about to sleep" and "woke"
  std::atomic<bool> notified_ = false;
  std::atomic<std::uint64_t> notify_writes_ = 0;
  LoopCounters counters_;
};

// Gathers the SQEs that are added outside an iteration while it lives, for one submission at its
// end. Home thread; may be nested.
class SubmitScope {
 public:
  explicit SubmitScope(AioContext& context) : context_(context) { ++context_.submit_scopes_; }
  SubmitScope(const SubmitScope&) = delete;
  SubmitScope& operator=(const SubmitScope&) = delete;
  ~SubmitScope() {
    --context_.submit_scopes_;
    context_.submit_if_outside();
  }

 private:
  AioContext& context_;
};

// Inline, as what every request goes through.

inline io_uring_sqe& AioContext::reserve_sqe() {
  invariant(in_home_thread(), "an SQE was added outside the context's home thread");
  invariant(has_io_uring(), "an SQE was added to a context without a ring");
  for (;;) {
    if (io_uring_sqe* sqe = ring_->next_sqe()) return *sqe;
    enter_ring(0);  // full: submit, and make room for completions (EBUSY). Calls no user.
  }
}

inline void AioContext::commit_sqe(io_uring_sqe& sqe, CqeHandler& handler) {
  invariant(handler.free(), "a CqeHandler was submitted twice");
  sqe.user_data = reinterpret_cast<std::uint64_t>(&handler);
  handler.opcode_ = sqe.opcode;
  handler.fate_ = fate_.get();
  handler.in_flight_ = true;
  ++in_flight_;
  tsan_release(&handler);
}

inline void AioContext::submit_if_outside() {
  if (depth_ == 0 && submit_scopes_ == 0) submit();
}

template <typename Prep>
void AioContext::add_sqe(Prep&& prep, CqeHandler& handler) {
  io_uring_sqe& sqe = reserve_sqe();
  prep(sqe);
  commit_sqe(sqe, handler);
  submit_if_outside();
}

template <typename Prep>
void AioContext::add_chain(std::span<CqeHandler* const> handlers, Prep&& prep) {
  reserve_chain(handlers.size());
  for (std::size_t i = 0; i < handlers.size(); ++i) {
    io_uring_sqe& sqe = reserve_sqe();
    prep(i, sqe);
    commit_link(sqe, handlers, i);
  }
  submit_if_outside();
}

}  // namespace ouro::loop
