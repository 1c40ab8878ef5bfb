// What tests of and on an AioContext share: a context of their own under a watchdog, the usual
// SQEs, and waiting for a condition.
#pragma once

#include <liburing.h>
#include <poll.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "tests/support/counting_handler.hpp"
#include "tests/support/watchdog.hpp"

namespace ouro::testing {

// The back end and the drive that this run of the tests is about, as OURO_TEST_LOOP=uring.own:
// uring, epoll or poll; own or foreign. The tests are listed once for each in CMakeLists.txt. (One
// variable, because gtest_discover_tests() of CMake 3.25 loses all but the first.)
inline std::string_view tested_loop() {
  const char* const name = std::getenv("OURO_TEST_LOOP");
  return name == nullptr ? "uring.own" : name;
}
inline loop::Backend tested_backend() {
  const std::string_view name = tested_loop().substr(0, tested_loop().find('.'));
  if (name == "uring") return loop::Backend::kUring;
  if (name == "epoll") return loop::Backend::kEpoll;
  if (name == "poll") return loop::Backend::kPoll;
  std::abort();
}
inline loop::Drive tested_drive() {
  if (tested_loop().ends_with(".own")) return loop::Drive::kOwn;
  if (tested_loop().ends_with(".foreign")) return loop::Drive::kForeign;
  std::abort();
}

// A context of the tested back end, which can be driven as is tested.
inline loop::AioOptions tested_options() {
  loop::AioOptions options;
  options.backend = tested_backend();
  options.drive = tested_drive();
  return options;
}
// The same with room for 8 SQEs and 16 CQEs.
inline loop::AioOptions small_ring_options() {
  loop::AioOptions options = tested_options();
  options.ring.sq_entries = 8;
  options.ring.cq_entries = 16;
  return options;
}
inline std::unique_ptr<loop::AioContext> create_context(
    const loop::AioOptions& options = tested_options()) {
  auto context = loop::AioContext::create(options).value();
  EXPECT_EQ(context->backend(), options.backend);
  EXPECT_TRUE(context->has_io_uring());
  return context;
}

// What a foreign loop does in place of poll(kYes): some turns of it, since it can wake for nothing;
// all but the first wait no longer than kSecondTurnNs.
inline constexpr std::int64_t kSecondTurnNs = 20'000'000;
inline constexpr int kTurns = 3;

inline bool drive_by_ppoll(loop::AioContext& context) {
  for (int turn = 0; turn < kTurns; ++turn) {
    std::int64_t timeout_ns = context.foreign_prepare();
    if (timeout_ns != 0) {
      const bool again = turn > 0 && (timeout_ns < 0 || timeout_ns > kSecondTurnNs);
      if (again) timeout_ns = kSecondTurnNs;
      const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
      const auto watched = context.foreign_fds();
      std::vector<pollfd> fds(watched.begin(), watched.end());
      const int count =
          ::ppoll(fds.data(), fds.size(), timeout_ns < 0 ? nullptr : &timeout, nullptr);
      const bool due = context.foreign_check();
      if (count < 0 && !due) --turn;  // a signal
    }
    if (context.poll(loop::Blocking::kNo)) return true;
  }
  return false;
}

// The foreign loop of this program; the tests with GLib have another one (glib_main.cpp).
inline bool (*drive_from_outside)(loop::AioContext&) = &drive_by_ppoll;
// In what units it can wait.
inline std::int64_t outside_unit_ns = 1;

// One blocking iteration, by whom it is tested.
inline bool poll_blocking(loop::AioContext& context) {
  const bool own = tested_drive() == loop::Drive::kOwn || context.depth() > 0;
  return own ? context.poll(loop::Blocking::kYes) : drive_from_outside(context);
}

inline void add_nop(loop::AioContext& context, loop::CqeHandler& handler) {
  context.add_sqe([](io_uring_sqe& sqe) { ::io_uring_prep_nop(&sqe); }, handler);
}

inline void add_read(loop::AioContext& context, int fd, std::span<char> into,
                     loop::CqeHandler& handler) {
  context.add_sqe(
      [&](io_uring_sqe& sqe) {
        ::io_uring_prep_read(&sqe, fd, into.data(), static_cast<unsigned>(into.size()), 0);
      },
      handler);
}

// Runs the loop until `done()`. Under a Watchdog, so that a lost event is a failure.
template <typename Done>
void poll_until(loop::AioContext& context, Done done) {
  while (!done()) poll_blocking(context);
}

inline std::string current_test_name() {
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  return test == nullptr ? "a test" : std::string(test->test_suite_name()) + "." + test->name();
}

class LoopTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kTimeLimit{60};

  [[nodiscard]] bool poll() { return poll_blocking(*context_); }
  [[nodiscard]] bool poll_now() { return context_->poll(loop::Blocking::kNo); }
  template <typename Done>
  void poll_until(Done done) {
    testing::poll_until(*context_, done);
  }

  const Watchdog watchdog_{current_test_name(), kTimeLimit};
  std::unique_ptr<loop::AioContext> context_ = create_context();
};

}  // namespace ouro::testing
