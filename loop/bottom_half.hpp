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
  // Asks for one run when the loop has nothing else to do, within kIdlePeriodNs. Not progress, and
  // no reason for a loop to stay awake. No effect on one that is scheduled, nor has schedule() on
  // one that waits for its idle turn. Home thread.
  void schedule_idle();
  // Takes the request back. From the home thread it is certain; from another one the loop may
  // just be running it.
  void cancel() { wanted_.store(Wanted::kNo, std::memory_order_release); }

  // Frees `bh` in the home thread, without running it again. Any thread.
  static void destroy_later(std::unique_ptr<BottomHalf> bh);

  static constexpr std::int64_t kIdlePeriodNs = 10'000'000;

 private:
  friend class AioContext;
  friend class BottomHalfQueue;
  enum class Wanted : std::uint8_t { kNo, kSoon, kWhenIdle };
  // What becomes of it when its turn has come.
  enum class Fate : std::uint8_t { kStays, kFreedAfterRun, kFreed };

  AioContext& context_;
  std::function<void()> callback_;
  BottomHalf* next_ = nullptr;
  std::atomic<bool> queued_ = false;  // linked on a list of the queue
  std::atomic<Wanted> wanted_ = Wanted::kNo;
  std::atomic<Fate> fate_ = Fate::kStays;
};

}  // namespace ouro::loop
