// What tests of and on an AioContext share: a context of their own under a watchdog, the usual
// SQEs, and waiting for a condition.
#pragma once

#include <liburing.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "tests/support/counting_handler.hpp"
#include "tests/support/watchdog.hpp"

namespace ouro::testing {

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
  while (!done()) context.poll(loop::Blocking::kYes);
}

inline std::string current_test_name() {
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  return test == nullptr ? "a test" : std::string(test->test_suite_name()) + "." + test->name();
}

class LoopTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kTimeLimit{60};

  [[nodiscard]] bool poll() { return context_->poll(loop::Blocking::kYes); }
  [[nodiscard]] bool poll_now() { return context_->poll(loop::Blocking::kNo); }
  template <typename Done>
  void poll_until(Done done) {
    testing::poll_until(*context_, done);
  }

  const Watchdog watchdog_{current_test_name(), kTimeLimit};
  std::unique_ptr<loop::AioContext> context_ = loop::AioContext::create().value();
};

}  // namespace ouro::testing
