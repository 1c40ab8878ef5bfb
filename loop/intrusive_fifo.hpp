// A FIFO of objects linked through a member of their own: no allocation, O(1) push and pop.
// Owned and used by one thread. An object is on at most one FIFO per link member at a time.
#pragma once

#include <cstddef>

namespace ouro::loop {

template <typename T, T* T::*kNext>
class IntrusiveFifo {
 public:
  [[nodiscard]] bool empty() const { return head_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }

  void push(T& item) {
    item.*kNext = nullptr;
    (tail_ != nullptr ? tail_->*kNext : head_) = &item;
    tail_ = &item;
    ++size_;
  }

  // The oldest item, unlinked; nullptr when empty.
  [[nodiscard]] T* pop() {
    T* item = head_;
    if (item == nullptr) return nullptr;
    head_ = item->*kNext;
    if (head_ == nullptr) tail_ = nullptr;
    item->*kNext = nullptr;
    --size_;
    return item;
  }

  // Unlinks `item` if it is queued here. O(size): for the rare removal, not for the hot path.
  bool remove(T& item) {
    T* before = nullptr;
    for (T* at = head_; at != nullptr; before = at, at = at->*kNext) {
      if (at != &item) continue;
      (before != nullptr ? before->*kNext : head_) = item.*kNext;
      if (tail_ == &item) tail_ = before;
      item.*kNext = nullptr;
      --size_;
      return true;
    }
    return false;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ouro::loop
