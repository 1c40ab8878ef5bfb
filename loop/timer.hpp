// One-shot timers on CLOCK_MONOTONIC with nanosecond deadlines, kept in an indexed heap:
// arming and cancelling cost O(log n), and nothing is allocated per arming.
//
// Everything in the home thread. A callback may arm, cancel or destroy its timer, or nest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace ouro::loop {

class AioContext;

// Nanoseconds of CLOCK_MONOTONIC.
[[nodiscard]] std::int64_t monotonic_now_ns();

class Timer {
 public:
  Timer(AioContext& context, std::function<void()> callback);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  // Runs the callback once, at `deadline_ns` or in the first iteration after it; replaces an
  // earlier arming.
  void arm_at(std::int64_t deadline_ns);
  void arm_in(std::int64_t delay_ns) { arm_at(monotonic_now_ns() + delay_ns); }
  void cancel();
  [[nodiscard]] bool armed() const { return heap_index_ != kNotArmed; }

 private:
  friend class TimerHeap;
  static constexpr std::size_t kNotArmed = static_cast<std::size_t>(-1);

  AioContext& context_;
  std::function<void()> callback_;
  std::int64_t deadline_ns_ = 0;
  std::size_t heap_index_ = kNotArmed;
};

class TimerHeap {
 public:
  void insert(Timer& timer);
  void remove(Timer& timer);
  // Runs every timer that is armed and due when the call begins, once; true if any ran.
  bool run_expired();
  // Nanoseconds until the first deadline, 0 if it has passed, -1 if no timer is armed.
  [[nodiscard]] std::int64_t timeout_ns() const;

 private:
  void sift_up(std::size_t at);
  void sift_down(std::size_t at);
  void place(std::size_t at, Timer* timer);

  std::vector<Timer*> heap_;
  std::int64_t last_run_ns_ = 0;
};

}  // namespace ouro::loop
