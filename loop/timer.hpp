// One-shot timers with nanosecond deadlines, kept in an indexed heap per clock: arming and
// cancelling cost O(log n), and nothing is allocated per arming.
//
// Everything in the home thread. A callback may arm, cancel or destroy its timer, or nest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace ouro::loop {

class AioContext;

// Which clock a deadline is of. A wall timer follows the system's time when that is set.
enum class Clock : std::uint8_t { kMonotonic, kWall };
inline constexpr std::size_t kClocks = 2;

// Nanoseconds of CLOCK_MONOTONIC or, since 1970, of CLOCK_REALTIME.
[[nodiscard]] std::int64_t now_ns(Clock clock);
[[nodiscard]] inline std::int64_t monotonic_now_ns() {
  return now_ns(Clock::kMonotonic);
}

class Timer {
 public:
  Timer(AioContext& context, std::function<void()> callback, Clock clock = Clock::kMonotonic);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  // Runs the callback once, at `deadline_ns` of its clock or in the first iteration after it;
  // replaces an earlier arming.
  void arm_at(std::int64_t deadline_ns);
  void arm_in(std::int64_t delay_ns);
  void cancel();
  [[nodiscard]] bool armed() const { return heap_index_ != kNotArmed; }

 private:
  friend class TimerHeap;
  static constexpr std::size_t kNotArmed = static_cast<std::size_t>(-1);

  AioContext& context_;
  std::function<void()> callback_;
  std::int64_t deadline_ns_ = 0;
  std::size_t heap_index_ = kNotArmed;
  const Clock clock_;
};

class TimerHeap {
 public:
  explicit TimerHeap(Clock clock) : clock_(clock) {}

  void insert(Timer& timer);
  void remove(Timer& timer);
  // Runs every timer that is armed and due when the call begins, once; true if any ran.
  bool run_expired();
  // Nanoseconds until the first deadline (or kLongestNs), 0 if it has passed, -1 if no timer is
  // armed.
  [[nodiscard]] std::int64_t timeout_ns() const { return empty() ? -1 : ns_until_first(); }
  [[nodiscard]] bool empty() const { return heap_.empty(); }

 private:
  // The kernel adds a timeout to what its clock says, and may not expect the sum to overflow.
  static constexpr std::int64_t kLongestNs = 86'400'000'000'000;

  // The deadline beside the pointer, so that sifting does not touch the timers it passes.
  struct Entry {
    std::int64_t deadline_ns;
    Timer* timer;
  };

  [[nodiscard]] std::int64_t ns_until_first() const;
  void sift_up(std::size_t at);
  void sift_down(std::size_t at);
  void place(std::size_t at, Entry entry);

  const Clock clock_;
  std::vector<Entry> heap_;
  std::int64_t not_before_ns_ = 0;  // what a run arms
};

}  // namespace ouro::loop
