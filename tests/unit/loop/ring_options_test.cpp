// Tests of what can be asked of a ring: larger entries, allowed operations, an fd to poll.
#include "loop/ring_options.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/tcp.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;

class RingOptionsTest : public ::testing::Test {
 protected:
  [[nodiscard]] static bool readable(int fd) {
    pollfd waiting{fd, POLLIN, 0};
    return ::poll(&waiting, 1, 0) == 1;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  AioOptions options_ = testing::tested_options();
};

TEST_F(RingOptionsTest, LargeEntriesOfEitherKindWork) {
  options_.ring.sq_entries = 8;
  options_.ring.cq_entries = 16;
  for (const bool sqe128 : {false, true}) {
    for (const bool cqe32 : {false, true}) {
      options_.ring.sqe128 = sqe128;
      options_.ring.cqe32 = cqe32;
      const auto context = testing::create_context(options_);
      EXPECT_EQ((context->ring().setup_flags() & IORING_SETUP_SQE128) != 0, sqe128);
      EXPECT_EQ((context->ring().setup_flags() & IORING_SETUP_CQE32) != 0, cqe32);
      std::vector<const CountingHandler*> order;
      std::vector<CountingHandler> nops(100);
      for (CountingHandler& nop : nops) {
        nop.set_callback([&](CountingHandler& self) { order.push_back(&self); });
        add_nop(*context, nop);
      }
      testing::poll_until(*context, [&] { return order.size() == nops.size(); });
      for (std::size_t i = 0; i < nops.size(); ++i) EXPECT_EQ(order[i], &nops[i]);
      // Operations with arguments, and the loop's own.
      const Pipe pipe;
      std::array<char, 4> into{};
      CountingHandler read;
      add_read(*context, pipe.reader.get(), into, read);
      int writable = 0;
      context->set_fd_handler(pipe.writer.get(), {{}, [&] {
                                                    ++writable;
                                                    context->remove_fd_handler(pipe.writer.get());
                                                    pipe.put(2);
                                                  }});
      testing::poll_until(*context, [&] { return read.calls() == 1; });
      EXPECT_EQ(read.result(), 2);
      EXPECT_EQ(writable, 1);
    }
  }
}

TEST_F(RingOptionsTest, TheSecondHalfOfALargeEntryIsCleared) {
  options_.ring.sqe128 = true;
  const auto context = testing::create_context(options_);
  std::vector<CountingHandler> nops(2 * options_.ring.sq_entries);
  for (CountingHandler& nop : nops) {
    context->add_sqe(
        [](io_uring_sqe& sqe) {
          auto* const bytes = reinterpret_cast<unsigned char*>(&sqe);
          for (std::size_t i = 0; i < 128; ++i) EXPECT_EQ(bytes[i], 0);
          for (std::size_t i = 64; i < 128; ++i) bytes[i] = 0xff;
          ::io_uring_prep_nop(&sqe);
        },
        nop);
  }
  testing::poll_until(*context, [&] { return nops.back().calls() == 1; });
}

// How much there is to read, asked by the command that sockets have for that.
// KERNEL(6.7): SOCKET_URING_OP_SIOCINQ; not in liburing 2.3.
TEST_F(RingOptionsTest, AUringCmdCompletesWithEntriesOfEitherSize) {
  constexpr unsigned kSiocinq = 0;
  testing::TcpListener listener;
  const UniqueFd client = listener.connect();
  const UniqueFd server = listener.accept();
  int sent = 0;
  for (const bool sqe128 : {false, true}) {
    options_.ring.sqe128 = sqe128;
    const auto context = testing::create_context(options_);
    if (!context->supports(IORING_OP_URING_CMD)) GTEST_SKIP() << "URING_CMD needs Linux 5.19";
    CountingHandler command;
    for (std::uint64_t times = 1; times <= 3; ++times) {
      ASSERT_EQ(::write(client.get(), "x", 1), 1);
      ++sent;
      context->add_sqe(
          [&](io_uring_sqe& sqe) {
            sqe.opcode = IORING_OP_URING_CMD;
            sqe.fd = server.get();
            sqe.cmd_op = kSiocinq;
          },
          command);
      testing::poll_until(*context, [&] { return command.calls() == times; });
      if (command.result() == -EOPNOTSUPP) {
        GTEST_SKIP() << "sockets take no URING_CMD before Linux 6.7";
      }
      EXPECT_EQ(command.result(), sent);
    }
    EXPECT_EQ(context->counters().cqes_by_opcode[IORING_OP_URING_CMD], 3U);
  }
}

TEST_F(RingOptionsTest, ARestrictedRingTakesWhatIsAllowedAndNothingElse) {
  options_.ring.allowed_opcodes = {IORING_OP_READ, IORING_OP_NOP};
  const auto context = testing::create_context(options_);
  EXPECT_TRUE(context->supports(IORING_OP_READ));
  EXPECT_TRUE(context->supports(IORING_OP_POLL_ADD));
  EXPECT_TRUE(context->supports(IORING_OP_ASYNC_CANCEL));
  EXPECT_FALSE(context->supports(IORING_OP_WRITE));
  EXPECT_FALSE(context->supports(IORING_OP_OPENAT));

  const Pipe pipe;
  pipe.put(2);
  std::array<char, 4> into{};
  CountingHandler read;
  add_read(*context, pipe.reader.get(), into, read);
  CountingHandler write;
  context->add_sqe(
      [&](io_uring_sqe& sqe) { ::io_uring_prep_write(&sqe, pipe.writer.get(), "y", 1, 0); }, write);
  testing::poll_until(*context, [&] { return read.calls() == 1 && write.calls() == 1; });
  EXPECT_EQ(read.result(), 2);
  EXPECT_EQ(write.result(), -EACCES);
}

TEST_F(RingOptionsTest, TheLoopItselfWorksOnARestrictedRing) {
  options_.ring.allowed_opcodes = {IORING_OP_READ};
  auto context = testing::create_context(options_);
  const Pipe pipe;
  int events = 0;
  context->set_fd_handler(pipe.reader.get(), {[&] { events += pipe.take() ? 1 : 0; }, {}});
  pipe.put();
  testing::poll_until(*context, [&] { return events == 1; });
  int fired = 0;
  Timer timer(*context, [&] { ++fired; });
  timer.arm_in(1'000'000);
  testing::poll_until(*context, [&] { return fired == 1; });
  context->remove_fd_handler(pipe.reader.get());
  EXPECT_TRUE(context->ring().register_personality());

  const Pipe blocking(O_CLOEXEC);
  std::array<char, 1> into{};
  CountingHandler cancelled;
  CountingHandler ended;
  add_read(*context, blocking.reader.get(), into, cancelled);
  add_read(*context, blocking.reader.get(), into, ended);
  context->cancel(cancelled);
  testing::poll_until(*context, [&] { return cancelled.calls() == 1; });
  EXPECT_EQ(cancelled.result(), -ECANCELED);
  context.reset();
  EXPECT_EQ(ended.result(), -ECANCELED);
}

// --- the fd of a ring that is polled -------------------------------------------------------------

class RingPolledTest : public RingOptionsTest {
 protected:
  void add_poll() {
    io_uring_sqe* const sqe = ring_->next_sqe();
    ASSERT_NE(sqe, nullptr);
    ::io_uring_prep_poll_add(sqe, pipe_.reader.get(), POLLIN);
    ASSERT_EQ(ring_->submit_all(), 0);
  }
  unsigned reap() {
    return ring_->reap([](std::uint64_t, const Cqe&) {});
  }

  const Pipe pipe_;
  const std::unique_ptr<Ring> ring_ = Ring::create({.polled = true}).value();
};

TEST_F(RingPolledTest, TheFdIsReadableWhileThereIsSomethingToReap) {
  for (int i = 0; i < 3; ++i) {
    add_poll();
    EXPECT_FALSE(readable(ring_->fd()));
    pipe_.put();
    EXPECT_TRUE(readable(ring_->fd()));
    EXPECT_EQ(reap(), 1U);
    EXPECT_FALSE(readable(ring_->fd()));
    EXPECT_TRUE(pipe_.take());
  }
}

TEST_F(RingPolledTest, ACompletionEndsASleepThatHasBegun) {
  constexpr int kLostAfterMs = 10'000;
  add_poll();
  std::thread writer([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pipe_.put();
  });
  pollfd watched{ring_->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&watched, 1, kLostAfterMs), 1);
  writer.join();
  EXPECT_EQ(reap(), 1U);
}

}  // namespace
}  // namespace ouro::loop
