// The bottom halves of one context: a lock-free list that any thread pushes to, and the FIFOs of
// those whose turn has come. These are members, so a nested loop goes on where its parent was.
#pragma once

#include <atomic>
#include <cstdint>

#include "loop/bottom_half.hpp"
#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

class BottomHalfQueue {
 public:
  BottomHalfQueue() = default;
  BottomHalfQueue(const BottomHalfQueue&) = delete;
  BottomHalfQueue& operator=(const BottomHalfQueue&) = delete;
  // Frees those that were left to it, without running them.
  ~BottomHalfQueue();

  // Links `bh`, which may be gone by the return. Any thread: the one that set kLinked.
  void push(BottomHalf& bh);

  // The rest: home thread.

  // The same, cheaper. Signal handlers, too.
  void push_at_home(BottomHalf& bh);
  // Unlinks `bh`.
  void forget(BottomHalf& bh);
  // Runs what was pushed before this call, oldest first; true if any ran.
  bool run();
  // Whether run() would find something.
  [[nodiscard]] bool pending() const {
    return !due_.empty() || pushed_.load(std::memory_order_acquire) != nullptr;
  }
  // Runs the idle ones, if that is due.
  void run_idle();
  // Nanoseconds until that, negative if there are none.
  [[nodiscard]] std::int64_t idle_timeout_ns() const {
    return idle_.empty() ? -1 : ns_until_idle_turn();
  }

 private:
  using Fifo = IntrusiveFifo<BottomHalf, &BottomHalf::next_>;

  // While it lives a signal handler keeps off due_. Not nested.
  class UseOfDue {
   public:
    explicit UseOfDue(BottomHalfQueue& queue) : queue_(queue) { set(true); }
    UseOfDue(const UseOfDue&) = delete;
    UseOfDue& operator=(const UseOfDue&) = delete;
    ~UseOfDue() { set(false); }

   private:
    void set(bool in_use) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
      queue_.due_in_use_.store(in_use, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    BottomHalfQueue& queue_;
  };
  [[nodiscard]] bool due_in_use() const { return due_in_use_.load(std::memory_order_relaxed); }

  void take_pushed();
  [[nodiscard]] BottomHalf* pop_due();
  bool run_one(BottomHalf& bh);
  [[nodiscard]] std::int64_t ns_until_idle_turn() const;

  std::atomic<BottomHalf*> pushed_ = nullptr;  // newest first
  Fifo due_;
  std::atomic<bool> due_in_use_ = false;  // an atomic for signal handlers, not for threads
  Fifo idle_;
  std::int64_t next_idle_ns_ = 0;
};

}  // namespace ouro::loop
