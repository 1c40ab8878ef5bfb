#include "loop/bottom_half.hpp"

#include <utility>

#include "loop/aio_context.hpp"
#include "loop/bottom_half_queue.hpp"

namespace ouro::loop {

BottomHalf::BottomHalf(AioContext& context, std::function<void()> callback)
    : context_(context), callback_(std::move(callback)) {}

BottomHalf::~BottomHalf() {
  cancel();
  context_.bottom_halves().forget(*this);
}

void BottomHalf::schedule() {
  if (scheduled_.exchange(true, std::memory_order_acq_rel)) return;
  context_.bottom_halves().push(*this);
  context_.notify();
}

void BottomHalfQueue::push(BottomHalf& bh) {
  if (bh.queued_.exchange(true, std::memory_order_acq_rel)) return;
  BottomHalf* head = pushed_.load(std::memory_order_relaxed);
  do {
    bh.next_ = head;
  } while (!pushed_.compare_exchange_weak(head, &bh, std::memory_order_release,
                                          std::memory_order_relaxed));
}

void BottomHalfQueue::take_pushed() {
  BottomHalf* newest = pushed_.exchange(nullptr, std::memory_order_acquire);
  BottomHalf* oldest = nullptr;
  while (newest != nullptr) {
    BottomHalf* next = std::exchange(newest->next_, oldest);
    oldest = std::exchange(newest, next);
  }
  while (oldest != nullptr) {
    BottomHalf* next = oldest->next_;
    due_.push(*oldest);
    oldest = next;
  }
}

void BottomHalfQueue::forget(BottomHalf& bh) {
  take_pushed();
  due_.remove(bh);
}

bool BottomHalfQueue::run() {
  take_pushed();
  bool progress = false;
  // One that schedules itself again is pushed anew and waits for the next iteration.
  for (auto left = due_.size(); left > 0; --left) {
    BottomHalf* bh = due_.pop();
    if (bh == nullptr) break;  // a nested loop has run the rest
    // Unlinked before scheduled_ is read: whoever schedules it from now on links it again.
    bh->queued_.store(false, std::memory_order_release);
    if (!bh->scheduled_.exchange(false, std::memory_order_acq_rel)) continue;
    bh->callback_();  // may destroy bh
    progress = true;
  }
  return progress;
}

}  // namespace ouro::loop
