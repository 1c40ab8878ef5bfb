// The bottom halves of one context: a lock-free list that any thread pushes to, and the FIFO of
// those whose turn has come. The FIFO is a member, so a nested loop goes on where its parent was.
#pragma once

#include <atomic>

#include "loop/bottom_half.hpp"
#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

class BottomHalfQueue {
 public:
  // Links `bh` unless it is linked already. Any thread.
  void push(BottomHalf& bh);
  // Unlinks `bh`. Home thread.
  void forget(BottomHalf& bh);
  // Runs what was pushed before this call, oldest first; true if any ran. Home thread.
  bool run();
  // Whether run() would find something. Home thread.
  [[nodiscard]] bool pending() const {
    return !due_.empty() || pushed_.load(std::memory_order_acquire) != nullptr;
  }

 private:
  void take_pushed();

  std::atomic<BottomHalf*> pushed_ = nullptr;  // newest first
  IntrusiveFifo<BottomHalf, &BottomHalf::next_> due_;
};

}  // namespace ouro::loop
