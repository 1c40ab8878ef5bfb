#include "loop/timer.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "loop/aio_context.hpp"

namespace ouro::loop {

std::int64_t now_ns(Clock clock) {
  timespec now{};
  ::clock_gettime(clock == Clock::kWall ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Timer::Timer(AioContext& context, std::function<void()> callback, Clock clock)
    : context_(context), callback_(std::move(callback)), clock_(clock) {}

void Timer::arm_at(std::int64_t deadline_ns) {
  cancel();
  deadline_ns_ = deadline_ns;
  context_.timers(clock_).insert(*this);
}

void Timer::arm_in(std::int64_t delay_ns) {
  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  const std::int64_t now = now_ns(clock_);
  arm_at(delay_ns > kNever - now ? kNever : now + delay_ns);
}

void Timer::cancel() {
  if (armed()) context_.timers(clock_).remove(*this);
}

void TimerHeap::place(std::size_t at, Entry entry) {
  heap_[at] = entry;
  entry.timer->heap_index_ = at;
}

void TimerHeap::insert(Timer& timer) {
  // Not due in the run that may be arming it, however long its deadline has passed.
  timer.deadline_ns_ = std::max(timer.deadline_ns_, not_before_ns_);
  heap_.push_back({timer.deadline_ns_, &timer});
  timer.heap_index_ = heap_.size() - 1;
  sift_up(timer.heap_index_);
}

void TimerHeap::remove(Timer& timer) {
  const std::size_t at = std::exchange(timer.heap_index_, Timer::kNotArmed);
  const Entry last = heap_.back();
  heap_.pop_back();
  if (last.timer == &timer) return;
  place(at, last);
  sift_up(at);
  sift_down(last.timer->heap_index_);
}

void TimerHeap::sift_up(std::size_t at) {
  const Entry entry = heap_[at];
  while (at > 0) {
    const std::size_t parent = (at - 1) / 2;
    if (heap_[parent].deadline_ns <= entry.deadline_ns) break;
    place(std::exchange(at, parent), heap_[parent]);
  }
  place(at, entry);
}

void TimerHeap::sift_down(std::size_t at) {
  const Entry entry = heap_[at];
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1].deadline_ns < heap_[child].deadline_ns) {
      ++child;
    }
    if (entry.deadline_ns <= heap_[child].deadline_ns) break;
    place(std::exchange(at, child), heap_[child]);
  }
  place(at, entry);
}

bool TimerHeap::run_expired() {
  // One snapshot, which insert() keeps new armings behind: re-arming cannot spin.
  const std::int64_t now = now_ns(clock_);
  const std::int64_t outer = std::exchange(not_before_ns_, now + 1);
  bool progress = false;
  while (!heap_.empty() && heap_.front().deadline_ns <= now) {
    Timer& timer = *heap_.front().timer;
    remove(timer);
    timer.callback_();  // may destroy the timer
    progress = true;
  }
  not_before_ns_ = outer;
  return progress;
}

std::int64_t TimerHeap::ns_until_first() const {
  return std::clamp<std::int64_t>(heap_.front().deadline_ns - now_ns(clock_), 0, kLongestNs);
}

}  // namespace ouro::loop
