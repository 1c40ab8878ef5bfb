// Tests of what is peculiar to fd handlers on the ring: the poll that is armed, and what ends it.
#include "loop/uring_fd_monitor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/socket_pair.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;
using testing::SocketPair;

class UringFdMonitorTest : public testing::LoopTest {
 protected:
  void watch_readable(int fd, std::function<void()> callback) {
    context_->set_fd_handler(fd, {std::move(callback), {}});
  }
  // Iterations that find nothing to do within some time in which a wrong event would come.
  void expect_silence() {
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(poll_now());
  }
};

// Closed before its poll has reached the kernel (EBADF): one report, and then nothing.
TEST_F(UringFdMonitorTest, AnFdClosedBeforeItWasArmedIsOneError) {
  Pipe pipe;
  int events = 0;
  const int fd = pipe.reader.get();
  {
    const SubmitScope scope(*context_);
    watch_readable(fd, [&] { ++events; });
    pipe.reader.reset();
  }
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 1);
  expect_silence();
  EXPECT_EQ(events, 1);
  context_->remove_fd_handler(fd);
}

// Closed while it is armed: the armed poll still reports, arming it again fails.
TEST_F(UringFdMonitorTest, AnFdClosedWithoutRemovalEndsWithOneError) {
  SocketPair sockets;
  std::vector<int> reads;
  const int fd = sockets.ours.get();
  const UniqueFd keeps_it_alive(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  watch_readable(fd, [&] {
    char byte = 0;
    reads.push_back(::read(fd, &byte, 1) < 0 ? errno : 0);
  });
  expect_silence();
  sockets.ours.reset();
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  EXPECT_TRUE(poll());
  while (poll_now()) ASSERT_LT(reads.size(), 10U);
  EXPECT_EQ(reads, (std::vector{EBADF, EBADF}));  // the event, and the error
  expect_silence();
  context_->remove_fd_handler(fd);
}

// A request of somebody else may cancel the poll. That must not silence the fd for good.
TEST_F(UringFdMonitorTest, SurvivesThatItsPollIsCancelledByAUser) {
  const Pipe pipe;
  int bytes = 0;
  watch_readable(pipe.reader.get(), [&] { bytes += pipe.take() ? 1 : 0; });
  expect_silence();
  CountingHandler cancel;
  context_->add_sqe(
      [&](io_uring_sqe& sqe) {
        sqe.opcode = IORING_OP_ASYNC_CANCEL;
        sqe.fd = pipe.reader.get();
        sqe.cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
      },
      cancel);
  poll_until([&] { return cancel.calls() > 0; });
  EXPECT_EQ(cancel.result(), 1);
  while (poll_now()) {
  }
  pipe.put();
  poll_until([&] { return bytes == 1; });
}

}  // namespace
}  // namespace ouro::loop
