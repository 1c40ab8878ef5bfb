#include "loop/timer.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "loop/aio_context.hpp"

namespace ouro::loop {

std::int64_t monotonic_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Timer::Timer(AioContext& context, std::function<void()> callback)
    : context_(context), callback_(std::move(callback)) {}

void Timer::arm_at(std::int64_t deadline_ns) {
  cancel();
  deadline_ns_ = deadline_ns;
  context_.timers().insert(*this);
}

void Timer::cancel() {
  if (armed()) context_.timers().remove(*this);
}

void TimerHeap::place(std::size_t at, Timer* timer) {
  heap_[at] = timer;
  timer->heap_index_ = at;
}

void TimerHeap::insert(Timer& timer) {
  // Not due in the run that may be arming it, however long its deadline has passed.
  timer.deadline_ns_ = std::max(timer.deadline_ns_, last_run_ns_ + 1);
  heap_.push_back(&timer);
  timer.heap_index_ = heap_.size() - 1;
  sift_up(timer.heap_index_);
}

void TimerHeap::remove(Timer& timer) {
  const std::size_t at = std::exchange(timer.heap_index_, Timer::kNotArmed);
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(at, last);
  sift_up(at);
  sift_down(last->heap_index_);
}

void TimerHeap::sift_up(std::size_t at) {
  Timer* timer = heap_[at];
  while (at > 0) {
    const std::size_t parent = (at - 1) / 2;
    if (heap_[parent]->deadline_ns_ <= timer->deadline_ns_) break;
    place(std::exchange(at, parent), heap_[parent]);
  }
  place(at, timer);
}

void TimerHeap::sift_down(std::size_t at) {
  Timer* timer = heap_[at];
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ns_ < heap_[child]->deadline_ns_) {
      ++child;
    }
    if (timer->deadline_ns_ <= heap_[child]->deadline_ns_) break;
    place(std::exchange(at, child), heap_[child]);
  }
  place(at, timer);
}

bool TimerHeap::run_expired() {
  if (heap_.empty()) return false;
  // One snapshot, which insert() keeps new armings behind: re-arming cannot spin.
  const std::int64_t now_ns = last_run_ns_ = monotonic_now_ns();
  bool progress = false;
  while (!heap_.empty() && heap_.front()->deadline_ns_ <= now_ns) {
    Timer& timer = *heap_.front();
    remove(timer);
    timer.callback_();  // may destroy the timer
    progress = true;
  }
  return progress;
}

std::int64_t TimerHeap::timeout_ns() const {
  if (heap_.empty()) return -1;
  return std::max<std::int64_t>(0, heap_.front()->deadline_ns_ - monotonic_now_ns());
}

}  // namespace ouro::loop
