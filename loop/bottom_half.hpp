// Deferred calls: a function that the loop runs once in its next iteration, scheduled from any
// thread. The cross-thread way into a context (see also AioContext::post).
//
// Lifetime: owned by the caller, who destroys it in the home thread (or when no loop runs), or
// gives it to destroy_later() in any thread. Nobody may schedule it any more by then; one that is
// still scheduled does not run.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace ouro::loop {

class AioContext;

class BottomHalf {
 public:
  BottomHalf(AioContext& context, std::function<void()> callback);
  BottomHalf(const BottomHalf&) = delete;
  BottomHalf& operator=(const BottomHalf&) = delete;
  ~BottomHalf();

  // Asks for one run; idempotent until that run begins. Any thread, and signal handlers: wait-free
  // but for the wake-up, which is a write().
  void schedule();
  // The same, in the loop's next iteration, whenever that comes: nobody is woken for it. Any
  // thread.
  void schedule_in_passing();
  // Asks for one run when the loop has nothing else to do, within kIdlePeriodNs. Not progress, and
  // no reason for a loop to stay awake. No effect on one that is scheduled, nor has schedule() on
  // one that waits for its idle turn. Home thread.
  void schedule_idle();
  // Takes the request back. From the home thread it is certain; from another one the loop may
  // just be running it.
  void cancel() {
    state_.fetch_and(static_cast<State>(~(kSoon | kWhenIdle | kTold)), std::memory_order_acq_rel);
  }

  // Frees `bh` in the home thread, without running it again. Any thread.
  static void destroy_later(std::unique_ptr<BottomHalf> bh);

  static constexpr std::int64_t kIdlePeriodNs = 10'000'000;

 private:
  friend class AioContext;
  friend class BottomHalfQueue;
  // One word, so that whoever links it and whoever frees it agree on who was first: to set kLinked
  // is to have to link it, and it may be gone as soon as it is linked.
  using State = std::uint8_t;
  static constexpr State kLinked = 1;  // on a list of the queue, or about to be
  static constexpr State kSoon = 2;
  static constexpr State kWhenIdle = 4;
  static constexpr State kFreed = 8;  // by its turn, without a run
  static constexpr State kTold = 16;  // the loop is awake for it, or being woken

  AioContext& context_;
  std::function<void()> callback_;
  BottomHalf* next_ = nullptr;
  std::atomic<State> state_ = 0;
  bool freed_after_run_ = false;  // set before it is scheduled
};

}  // namespace ouro::loop
