// The event loop of one thread: an io_uring, fd handlers, bottom halves and timers, after QEMU's
// AioContext. Any component may put its own SQEs on the ring with add_sqe().
//
// Thread: belongs to its home thread, the one that created it. Only notify() and what is
// documented as such (BottomHalf::schedule) may be called from others.
//
// Nesting: any callback may call poll() on its own context. Every list of pending work is a
// member of the context and is popped one by one, so a nested loop finds what its parent has
// reaped and not dispatched yet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "loop/bottom_half_queue.hpp"
#include "loop/cqe_handler.hpp"
#include "loop/event_notifier.hpp"
#include "loop/fd_monitor.hpp"
#include "loop/intrusive_fifo.hpp"
#include "loop/ring.hpp"
#include "loop/timer.hpp"

namespace ouro::loop {

enum class Blocking : std::uint8_t { kNo, kYes };

// What the loop has done so far; opcodes are IORING_OP_*. Counted where CQEs are reaped, so they
// prove that an operation really went through the ring.
struct LoopCounters {
  std::array<std::uint64_t, 256> cqes_by_opcode{};
  std::uint64_t inline_completions = 0;  // complete(), which is not the ring's work
  std::uint64_t iterations = 0;
};

class AioContext {
 public:
  // Errors as for Ring::create(), and EMFILE for the eventfd.
  [[nodiscard]] static Result<std::unique_ptr<AioContext>> create(const RingOptions& options = {});
  AioContext(const AioContext&) = delete;
  AioContext& operator=(const AioContext&) = delete;
  // Cancels what is in flight, and delivers each completion (mostly -ECANCELED) before it returns.
  // What the kernel cannot cancel within kDestroyTimeoutNs is a broken invariant of the owner.
  ~AioContext();

  // One iteration: submit, wait if `blocking` and nothing is due, reap, dispatch. Returns whether
  // anything was done for a user. A blocking call that returns false was woken by notify().
  bool poll(Blocking blocking);

  // Puts one SQE on the ring. `prep` is called at once with a cleared SQE and fills in everything
  // but user_data; it must not call the context. `handler` must be idle; its on_cqe() runs in a
  // later dispatch phase. Never fails: when the queue is full, queued SQEs are submitted first.
  // The SQE reaches the kernel with the next poll(), nested or not, at the latest.
  template <typename Prep>
  void add_sqe(Prep&& prep, CqeHandler& handler);

  // Asks the kernel to cancel the request of `handler`. Its completion still comes, with
  // -ECANCELED, or with its own result if it was quicker. No-op unless it is in flight.
  void cancel(CqeHandler& handler);

  // Completes an idle `handler` with `result` in the next dispatch phase, as if by a CQE. For
  // executors that do the work themselves: completions never run inside a submission.
  void complete(CqeHandler& handler, std::int32_t result);

  // Hands queued SQEs to the kernel now. poll() does this anyway.
  void submit();

  // Monitors `fd` (borrowed) with `callbacks`, replacing an earlier handler of the same fd. Without
  // any callback it removes.
  // Callbacks may replace or remove any handler, nest, and close the fd after removal.
  void set_fd_handler(int fd, FdCallbacks callbacks);
  void remove_fd_handler(int fd);

  // Makes a poll() that waits, or is about to wait, return. Any thread; async-signal-safe.
  void notify();

  [[nodiscard]] bool in_home_thread() const { return std::this_thread::get_id() == home_; }
  [[nodiscard]] bool supports(unsigned opcode) const { return ring_->supports(opcode); }
  [[nodiscard]] Ring& ring() { return *ring_; }
  [[nodiscard]] const LoopCounters& counters() const { return counters_; }
  [[nodiscard]] unsigned depth() const { return depth_; }  // 1 inside an outermost poll()

  // Wake-ups that had to write the eventfd, because the loop was asleep.
  [[nodiscard]] std::uint64_t notify_writes() const { return notify_writes_.load(); }

  // For BottomHalf, Timer and the fd monitor.
  [[nodiscard]] BottomHalfQueue& bottom_halves() { return bottom_halves_; }
  [[nodiscard]] TimerHeap& timers() { return timers_; }
  void fd_ready(AioHandler& handler, std::uint32_t events);

 private:
  static constexpr std::int64_t kDestroyTimeoutNs = 5'000'000'000;
  static constexpr std::int64_t kDestroyTurnNs = 10'000'000;

  AioContext(std::unique_ptr<Ring> ring, EventNotifier notifier);

  [[nodiscard]] io_uring_sqe& reserve_sqe();
  void commit_sqe(io_uring_sqe& sqe, CqeHandler& handler);
  void wait(std::int64_t timeout_ns);
  void enter(std::int64_t timeout_ns);
  [[nodiscard]] std::int64_t timeout_ns() const;
  void reap();
  void cancel_all();
  bool dispatch_completions();
  bool dispatch_fds();
  void run_fd_callbacks(AioHandler& handler);
  void free_retired();

  const std::thread::id home_ = std::this_thread::get_id();
  const std::unique_ptr<Ring> ring_;
  const EventNotifier notifier_;
  const std::unique_ptr<FdMonitor> monitor_;

  unsigned depth_ = 0;
  std::uint64_t in_flight_ = 0;
  IntrusiveFifo<CqeHandler, &CqeHandler::next_> ready_;
  IntrusiveFifo<AioHandler, &AioHandler::next_> ready_fds_;
  BottomHalfQueue bottom_halves_;
  TimerHeap timers_;
  std::vector<std::unique_ptr<AioHandler>> fd_handlers_;  // indexed by fd
  std::vector<std::unique_ptr<AioHandler>> retired_;      // removed, may still be referred to

  std::atomic<unsigned> notify_me_ = 0;  // poll() calls between "about to sleep" and "woke"
  std::atomic<bool> notified_ = false;
  std::atomic<std::uint64_t> notify_writes_ = 0;
  LoopCounters counters_;
};

template <typename Prep>
void AioContext::add_sqe(Prep&& prep, CqeHandler& handler) {
  io_uring_sqe& sqe = reserve_sqe();
  prep(sqe);
  commit_sqe(sqe, handler);
}

}  // namespace ouro::loop
