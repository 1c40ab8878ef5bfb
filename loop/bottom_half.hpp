// Deferred calls: a function that the loop runs once in its next iteration, scheduled from any
// thread. The cross-thread way into a context.
//
// Lifetime: owned by the caller, who destroys it in the home thread (or when no loop runs).
// Nobody may schedule it any more by then; one that is still scheduled does not run.
#pragma once

#include <atomic>
#include <functional>

namespace ouro::loop {

class AioContext;

class BottomHalf {
 public:
  BottomHalf(AioContext& context, std::function<void()> callback);
  BottomHalf(const BottomHalf&) = delete;
  BottomHalf& operator=(const BottomHalf&) = delete;
  ~BottomHalf();

  // Asks for one run; idempotent until that run begins. Any thread; wait-free but for the wake-up.
  void schedule();
  // Takes the request back. From the home thread it is certain; from another one the loop may
  // just be running it.
  void cancel() { scheduled_.exchange(false, std::memory_order_acq_rel); }

 private:
  friend class BottomHalfQueue;

  AioContext& context_;
  std::function<void()> callback_;
  BottomHalf* next_ = nullptr;
  std::atomic<bool> queued_ = false;     // linked on a list of the queue
  std::atomic<bool> scheduled_ = false;  // is to run when its turn comes
};

}  // namespace ouro::loop
