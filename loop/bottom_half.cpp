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
  AioContext& context = context_;  // whose loop may run and free it before the end of this
  const State before = state_.fetch_or(kLinked | kSoon | kTold, std::memory_order_acq_rel);
  if ((before & kTold) != 0) return;
  if ((before & kLinked) == 0) {
    BottomHalfQueue& queue = context.bottom_halves();
    context.in_home_thread() ? queue.push_at_home(*this) : queue.push(*this);
  }
  context.notify_of_call();
}

void BottomHalf::schedule_in_passing() {
  AioContext& context = context_;
  const State before = state_.fetch_or(kLinked | kSoon, std::memory_order_acq_rel);
  if ((before & kLinked) == 0) context.bottom_halves().push(*this);
}

void BottomHalf::schedule_idle() {
  if ((state_.load(std::memory_order_acquire) & (kSoon | kWhenIdle)) != 0) return;
  const State before = state_.fetch_or(kLinked | kWhenIdle, std::memory_order_acq_rel);
  if ((before & kLinked) == 0) context_.bottom_halves().push(*this);
}

void BottomHalf::destroy_later(std::unique_ptr<BottomHalf> bh) {
  BottomHalf* const left = bh.release();
  AioContext& context = left->context_;
  const State before = left->state_.fetch_or(kLinked | kSoon | kFreed, std::memory_order_acq_rel);
  if ((before & kLinked) == 0) context.bottom_halves().push(*left);
  context.notify_of_call();
}

BottomHalfQueue::~BottomHalfQueue() {
  take_pushed();
  for (Fifo* fifo : {&due_, &idle_}) {
    while (BottomHalf* bh = fifo->pop()) {
      const auto state = bh->state_.exchange(0, std::memory_order_acq_rel);
      if (bh->freed_after_run_ || (state & BottomHalf::kFreed) != 0) delete bh;
    }
  }
}

void BottomHalfQueue::push(BottomHalf& bh) {
  BottomHalf* head = pushed_.load(std::memory_order_relaxed);
  do {
    bh.next_ = head;
  } while (!pushed_.compare_exchange_weak(head, &bh, std::memory_order_release,
                                          std::memory_order_relaxed));
}

void BottomHalfQueue::push_at_home(BottomHalf& bh) {
  // What another thread has pushed comes first, and what a signal handler has interrupted cannot be
  // touched.
  if (due_in_use() || pushed_.load(std::memory_order_acquire) != nullptr) return push(bh);
  const UseOfDue use(*this);
  due_.push(bh);
}

BottomHalf* BottomHalfQueue::pop_due() {
  const UseOfDue use(*this);
  return due_.pop();
}

void BottomHalfQueue::take_pushed() {
  if (pushed_.load(std::memory_order_relaxed) == nullptr) return;
  const UseOfDue use(*this);
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
  if ((bh.state_.load(std::memory_order_acquire) & BottomHalf::kLinked) == 0) return;
  take_pushed();
  const UseOfDue use(*this);
  if (!due_.remove(bh)) (void)idle_.remove(bh);
}

bool BottomHalfQueue::run() {
  take_pushed();
  bool progress = false;
  // One that schedules itself again is pushed anew and waits for the next iteration.
  for (auto left = due_.size(); left > 0; --left) {
    BottomHalf* bh = pop_due();
    if (bh == nullptr) break;  // a nested loop has run the rest
    constexpr BottomHalf::State kAsked = BottomHalf::kSoon | BottomHalf::kWhenIdle;
    if ((bh->state_.load(std::memory_order_acquire) & kAsked) == BottomHalf::kWhenIdle) {
      if (idle_.empty()) next_idle_ns_ = monotonic_now_ns() + BottomHalf::kIdlePeriodNs;
      idle_.push(*bh);
      continue;
    }
    progress |= run_one(*bh);
  }
  return progress;
}

bool BottomHalfQueue::run_one(BottomHalf& bh) {
  // Unlinked and read in one step: whoever schedules it from now on links it again.
  const auto state = bh.state_.exchange(0, std::memory_order_acq_rel);
  if ((state & BottomHalf::kFreed) != 0) {
    delete &bh;
    return false;
  }
  if (bh.freed_after_run_) {
    const std::unique_ptr<BottomHalf> owned(&bh);
    owned->callback_();
    return true;
  }
  if ((state & (BottomHalf::kSoon | BottomHalf::kWhenIdle)) == 0) return false;
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

std::int64_t BottomHalfQueue::ns_until_idle_turn() const {
  return std::max<std::int64_t>(0, next_idle_ns_ - monotonic_now_ns());
}

}  // namespace ouro::loop
