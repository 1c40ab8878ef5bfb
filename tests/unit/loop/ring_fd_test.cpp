// Tests that the fd of the ring is all that a foreign loop has to watch: a plain epoll program, to
// whose set it is added once. A wake-up that it slept through fails the test.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/event_notifier.hpp"
#include "loop/timer.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;

class RingFdTest : public testing::LoopTest {
 protected:
  RingFdTest() {
    context_ = AioContext::create({.backend = Backend::kUring, .drive = Drive::kForeign}).value();
    epoll_event event{EPOLLIN, {.fd = context_->ring().fd()}};
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, context_->ring().fd(), &event), 0);
  }

  // One turn of the program. EINTR is part of the interface (Ring::fd).
  void turn() {
    const std::int64_t timeout_ns = context_->foreign_prepare();
    if (timeout_ns != 0) {
      const bool for_ever = timeout_ns < 0;
      const std::int64_t timeout_ms = for_ever ? kLostAfterMs : (timeout_ns + 999'999) / 1'000'000;
      epoll_event event;
      const int count = ::epoll_wait(epoll_.get(), &event, 1, static_cast<int>(timeout_ms));
      if (count == 0 && for_ever) ADD_FAILURE() << "it slept through what should have woken it";
      (void)context_->foreign_check();
    }
    (void)poll_now();
  }
  template <typename Done>
  void turn_until(Done done) {
    while (!done() && !HasFailure()) turn();
  }

 private:
  static constexpr std::int64_t kLostAfterMs = 10'000;
  const UniqueFd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

TEST_F(RingFdTest, ItIsAllThatThereIsToWatch) {
  const Pipe pipe;
  context_->set_fd_handler(pipe.reader.get(), {[] {}, {}});
  ASSERT_EQ(context_->foreign_fds().size(), 1U);
  EXPECT_EQ(context_->foreign_fds()[0].fd, context_->ring().fd());
}

TEST_F(RingFdTest, CompletionsComeWhoeverHasDoneTheWork) {
  std::string path = "/tmp/ouro-ring-fd-XXXXXX";
  const UniqueFd file(::mkstemp(path.data()));
  ASSERT_TRUE(static_cast<bool>(file));
  ::unlink(path.c_str());
  ASSERT_EQ(::write(file.get(), "x", 1), 1);
  std::array<char, 1> into{};
  for (std::uint64_t i = 1; i <= 100; ++i) {
    CountingHandler nop;
    CountingHandler read;
    testing::add_nop(*context_, nop);
    turn_until([&] { return nop.calls() == 1; });
    context_->add_sqe(
        [&](io_uring_sqe& sqe) {
          ::io_uring_prep_read(&sqe, file.get(), into.data(), 1, 0);
          sqe.flags |= IOSQE_ASYNC;  // by a worker of the kernel
        },
        read);
    turn_until([&] { return read.calls() == 1; });
    EXPECT_EQ(read.result(), 1);
  }
}

TEST_F(RingFdTest, TimersFire) {
  int fired = 0;
  Timer timer(*context_, [&] { ++fired; });
  for (int i = 1; i <= 3; ++i) {
    timer.arm_in(5'000'000);
    turn_until([&] { return fired == i; });
  }
}

// Another thread wakes it by each means in turn, and only when the last wake-up was seen, so that
// each one counts; after waits of all lengths, so that they meet every moment of a turn.
TEST_F(RingFdTest, NoWakeUpOfManyIsLost) {
  constexpr std::uint64_t kWakeUps = 8000;
  constexpr std::uint32_t kLongestWait = 3000;
  std::atomic<std::uint64_t> seen = 0;
  std::atomic<bool> stop = false;

  const auto watched = EventNotifier::create().value();
  context_->set_fd_handler(watched.fd(), {[&] { seen += watched.test_and_clear() ? 1 : 0; }, {}});
  const auto polled = EventNotifier::create().value();
  const auto add_poll = [&](CountingHandler& handler) {
    context_->add_sqe(
        [&](io_uring_sqe& sqe) { ::io_uring_prep_poll_add(&sqe, polled.fd(), POLLIN); }, handler);
  };
  CountingHandler poll([&](CountingHandler& handler) {
    if (!polled.test_and_clear()) return;
    ++seen;
    add_poll(handler);
  });
  add_poll(poll);
  BottomHalf bh(*context_, [&] { ++seen; });

  std::thread waker([&] {
    const std::array<std::function<void()>, 4> means = {
        [&] { watched.set(); }, [&] { polled.set(); }, [&] { bh.schedule(); },
        [&] { context_->post([&] { ++seen; }); }};
    std::minstd_rand random(1);  // NOLINT: the same run every time
    for (std::uint64_t i = 0; i < kWakeUps && !stop; ++i) {
      while (seen < i && !stop) std::this_thread::yield();
      for (auto wait = random() % kLongestWait; wait > 0 && !stop; --wait) {
      }
      means[i % means.size()]();
    }
  });
  turn_until([&] { return seen == kWakeUps; });
  stop = true;
  waker.join();
  context_->remove_fd_handler(watched.fd());
  context_->cancel(poll);
  while (poll.state() != CqeHandler::State::kIdle) (void)poll_now();
}

}  // namespace
}  // namespace ouro::loop
