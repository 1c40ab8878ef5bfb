// A timer whose signal interrupts the thread that made it, wherever it is.
//
// Made, started and destroyed by that thread. The handler is the process's for as long.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <system_error>

namespace ouro::testing {

class SignalTimer {
 public:
  SignalTimer(int signal, void (*handler)(int)) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    check(::sigaction(signal_, &action, &before_), "sigaction");
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_;
    event._sigev_un._tid = ::gettid();
    check(::timer_create(CLOCK_MONOTONIC, &event, &timer_), "timer_create");
  }
  SignalTimer(const SignalTimer&) = delete;
  SignalTimer& operator=(const SignalTimer&) = delete;
  ~SignalTimer() {
    ::timer_delete(timer_);
    ::sigaction(signal_, &before_, nullptr);
  }

  // One signal after `delay_ns`, which is more than 0.
  void start_once(std::int64_t delay_ns) const { start({}, as_timespec(delay_ns)); }
  // One every `period_ns`.
  void start_every(std::int64_t period_ns) const {
    start(as_timespec(period_ns), as_timespec(period_ns));
  }

 private:
  static void check(int result, const char* call) {
    if (result != 0) throw std::system_error(errno, std::generic_category(), call);
  }
  static timespec as_timespec(std::int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }
  void start(timespec period, timespec first) const {
    const itimerspec when{period, first};
    check(::timer_settime(timer_, 0, &when, nullptr), "timer_settime");
  }

  const int signal_;
  struct sigaction before_ {};
  timer_t timer_{};
};

}  // namespace ouro::testing
