#include "loop/bottom_half.hpp"

#include <algorithm>
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
  if (wanted_.exchange(Wanted::kSoon, std::memory_order_acq_rel) == Wanted::kSoon) return;
  context_.bottom_halves().push(*this);
  context_.notify();
}

void BottomHalf::schedule_idle() {
  Wanted expected = Wanted::kNo;
  if (!wanted_.compare_exchange_strong(expected, Wanted::kWhenIdle)) return;
  context_.bottom_halves().push(*this);
}

void BottomHalf::destroy_later(std::unique_ptr<BottomHalf> bh) {
  BottomHalf* const left = bh.release();
  AioContext& context = left->context_;
  left->fate_.store(Fate::kFreed, std::memory_order_release);
  left->wanted_.store(Wanted::kSoon, std::memory_order_release);
  context.bottom_halves().push(*left);  // which may be the last that is seen of it
  context.notify();
}

BottomHalfQueue::~BottomHalfQueue() {
  take_pushed();
  for (Fifo* fifo : {&due_, &idle_}) {
    while (BottomHalf* bh = fifo->pop()) {
      if (bh->fate_.load(std::memory_order_acquire) != BottomHalf::Fate::kStays) delete bh;
    }
  }
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
  if (!bh.queued_.load(std::memory_order_acquire)) return;
  take_pushed();
  if (!due_.remove(bh)) (void)idle_.remove(bh);
}

bool BottomHalfQueue::run() {
  if (!pending()) return false;
  take_pushed();
  bool progress = false;
  // One that schedules itself again is pushed anew and waits for the next iteration.
  for (auto left = due_.size(); left > 0; --left) {
    BottomHalf* bh = due_.pop();
    if (bh == nullptr) break;  // a nested loop has run the rest
    if (bh->wanted_.load(std::memory_order_acquire) == BottomHalf::Wanted::kWhenIdle) {
      if (idle_.empty()) next_idle_ns_ = monotonic_now_ns() + BottomHalf::kIdlePeriodNs;
      idle_.push(*bh);
      continue;
    }
    progress |= run_one(*bh);
  }
  return progress;
}

bool BottomHalfQueue::run_one(BottomHalf& bh) {
  using Fate = BottomHalf::Fate;
  // Unlinked before wanted_ is read: whoever schedules it from now on links it again.
  bh.queued_.store(false, std::memory_order_release);
  const auto wanted = bh.wanted_.exchange(BottomHalf::Wanted::kNo, std::memory_order_acq_rel);
  const Fate fate = bh.fate_.load(std::memory_order_acquire);
  if (fate == Fate::kFreed) {
    delete &bh;
    return false;
  }
  if (fate == Fate::kFreedAfterRun) {
    const std::unique_ptr<BottomHalf> owned(&bh);
    owned->callback_();
    return true;
  }
  if (wanted == BottomHalf::Wanted::kNo) return false;
  bh.callback_();  // may destroy bh
  return true;
}

void BottomHalfQueue::run_idle() {
  if (idle_.empty() || monotonic_now_ns() < next_idle_ns_) return;
  next_idle_ns_ = monotonic_now_ns() + BottomHalf::kIdlePeriodNs;
  for (auto left = idle_.size(); left > 0; --left) {
    BottomHalf* bh = idle_.pop();
    if (bh == nullptr) break;
    (void)run_one(*bh);
  }
}

std::int64_t BottomHalfQueue::idle_timeout_ns() const {
  if (idle_.empty()) return -1;
  return std::max<std::int64_t>(0, next_idle_ns_ - monotonic_now_ns());
}

}  // namespace ouro::loop
