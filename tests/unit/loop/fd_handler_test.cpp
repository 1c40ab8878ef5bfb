// Tests of fd handlers on every back end: level-triggering, order, hang-ups, broken descriptors.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/event_notifier.hpp"
#include "loop/fd_table.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/socket_pair.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;
using testing::SocketPair;

class FdHandlerTest : public testing::LoopTest {
 protected:
  void watch_readable(int fd, std::function<void()> callback) {
    context_->set_fd_handler(fd, {std::move(callback), {}});
  }
  void watch_writable(int fd, std::function<void()> callback) {
    context_->set_fd_handler(fd, {{}, std::move(callback)});
  }
  // Iterations that find nothing to do within some time in which a wrong event would come.
  void expect_silence() {
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(poll_now());
  }
};

// --- readiness -----------------------------------------------------------------------------------

TEST_F(FdHandlerTest, SettingAndRemovingAloneIsNoEvent) {
  const Pipe pipe;
  watch_readable(pipe.reader.get(), [] { FAIL(); });
  expect_silence();
  context_->remove_fd_handler(pipe.reader.get());
  pipe.put();
  expect_silence();
  context_->remove_fd_handler(pipe.reader.get());  // again, and one that never was
  context_->remove_fd_handler(100'000);
  expect_silence();
}

TEST_F(FdHandlerTest, OneEventOneCall) {
  const auto notifier = EventNotifier::create().value();
  int events = 0;
  watch_readable(notifier.fd(), [&] { events += notifier.test_and_clear() ? 1 : 100; });
  notifier.set();
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 1);
  expect_silence();
  notifier.set();
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 2);
}

TEST_F(FdHandlerTest, AnFdThatIsReadyAlreadyIsReported) {
  const Pipe pipe;
  pipe.put();
  int events = 0;
  watch_readable(pipe.reader.get(), [&] { events += pipe.take() ? 1 : 100; });
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 1);
}

// Level-triggered: what a callback leaves behind is reported again.
TEST_F(FdHandlerTest, AHandlerThatTakesOneByteIsCalledForEveryByte) {
  constexpr int kBytes = 20;
  const Pipe pipe;
  int events = 0;
  watch_readable(pipe.reader.get(), [&] {
    ++events;
    EXPECT_TRUE(pipe.take());
  });
  pipe.put(kBytes);
  for (int i = 1; i <= kBytes; ++i) {
    EXPECT_TRUE(poll());
    EXPECT_EQ(events, i);
  }
  expect_silence();
}

TEST_F(FdHandlerTest, AHandlerThatRearmsItsEventRunsOncePerIteration) {
  const auto notifier = EventNotifier::create().value();
  int left = 10;
  watch_readable(notifier.fd(), [&] {
    notifier.test_and_clear();
    if (--left > 0) notifier.set();
  });
  notifier.set();
  for (int i = 9; i >= 0; --i) {
    EXPECT_TRUE(poll());
    EXPECT_EQ(left, i);
  }
  expect_silence();
}

TEST_F(FdHandlerTest, ReadableIsCalledBeforeWritable) {
  const SocketPair sockets;
  std::string order;
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  context_->set_fd_handler(sockets.ours.get(), {[&] { order += 'r'; }, [&] { order += 'w'; }});
  EXPECT_TRUE(poll());
  EXPECT_EQ(order, "rw");
}

TEST_F(FdHandlerTest, AnEventIsNotReplayedWithALaterOne) {
  const SocketPair sockets;
  const std::vector<char> block(65'536);
  while (::write(sockets.ours.get(), block.data(), block.size()) > 0) {
  }
  std::string order;
  char byte = 0;
  context_->set_fd_handler(sockets.ours.get(), {[&] {
                                                  order += 'r';
                                                  EXPECT_EQ(::read(sockets.ours.get(), &byte, 1),
                                                            1);
                                                },
                                                [&] { order += 'w'; }});
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  EXPECT_TRUE(poll());
  EXPECT_EQ(order, "r");
  std::vector<char> into(block.size());
  while (::read(sockets.theirs.get(), into.data(), into.size()) > 0) {
  }
  EXPECT_TRUE(poll());
  EXPECT_EQ(order, "rw");
}

TEST_F(FdHandlerTest, OnlyTheInterestThatWasAskedForIsReported) {
  const SocketPair sockets;
  watch_readable(sockets.ours.get(), [] { FAIL() << "it is only writable"; });
  expect_silence();
  int writable = 0;
  watch_writable(sockets.ours.get(), [&] { ++writable; });
  EXPECT_TRUE(poll());
  EXPECT_EQ(writable, 1);
}

TEST_F(FdHandlerTest, HundredsOfDescriptorsAreAllReported) {
  constexpr std::size_t kMany = 300;
  std::vector<EventNotifier> notifiers;
  std::vector<int> events(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    notifiers.push_back(EventNotifier::create().value());
    watch_readable(notifiers[i].fd(), [&, i] { events[i] += notifiers[i].test_and_clear(); });
  }
  for (const EventNotifier& notifier : notifiers) notifier.set();
  EXPECT_TRUE(poll());
  while (poll_now()) {
  }
  EXPECT_EQ(events, std::vector<int>(kMany, 1));
}

TEST_F(FdHandlerTest, ARegularFileIsAlwaysReady) {
  const testing::TempDir dir;
  const std::string path = dir / "file";
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  int events = 0;
  watch_readable(file.get(), [&] { ++events; });
  EXPECT_TRUE(poll());
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 2);
}

// --- hang-up and errors --------------------------------------------------------------------------

TEST_F(FdHandlerTest, AHangUpIsReadable) {
  Pipe pipe;
  int events = 0;
  watch_readable(pipe.reader.get(), [&] {
    ++events;
    context_->remove_fd_handler(pipe.reader.get());
  });
  pipe.writer.reset();
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 1);
}

TEST_F(FdHandlerTest, AnErrorIsWritable) {
  Pipe pipe;
  int events = 0;
  watch_writable(pipe.writer.get(), [&] {
    ++events;
    context_->remove_fd_handler(pipe.writer.get());
  });
  EXPECT_TRUE(poll());
  pipe.reader.reset();  // POLLERR
  watch_writable(pipe.writer.get(), [&] { ++events; });
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 2);
}

// Nobody asked for POLLHUP, but the kernel reports it, and without an answer for ever.
TEST_F(FdHandlerTest, AHangUpReachesAHandlerThatOnlyWrites) {
  Pipe pipe;
  int events = 0;
  watch_writable(pipe.reader.get(), [&] {
    ++events;
    context_->remove_fd_handler(pipe.reader.get());
  });
  pipe.writer.reset();
  poll_until([&] { return events > 0; });
  expect_silence();
}

TEST_F(FdHandlerTest, AHandlerWithoutCallbacksIsNone) {
  Pipe pipe;
  watch_readable(pipe.reader.get(), [] { FAIL(); });
  context_->set_fd_handler(pipe.reader.get(), {});
  pipe.writer.reset();  // would be an endless hang-up
  expect_silence();
}

// One that is closed and never removed: neither its error nor what a duplicate of it still has to
// say may keep the loop from sleeping.
TEST_F(FdHandlerTest, AnFdClosedWithoutRemovalDoesNotSpin) {
  SocketPair sockets;
  int calls = 0;
  const int fd = sockets.ours.get();
  const UniqueFd keeps_it_alive(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  watch_readable(fd, [&] { ++calls; });
  expect_silence();
  sockets.ours.reset();
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  if (context_->backend() != Backend::kEpoll) {
    while (poll_now()) ASSERT_LT(calls, 10);
    EXPECT_GT(calls, 0);
    expect_silence();
  }
  context_->remove_fd_handler(fd);
  expect_silence();
}

// The number is another file by the time the handler is replaced.
TEST_F(FdHandlerTest, ANumberThatIsAnotherFileByNowIsWatchedAnew) {
  const SocketPair old_pair;
  const int fd = ::fcntl(old_pair.ours.get(), F_DUPFD_CLOEXEC, 500);
  ASSERT_GE(fd, 500);
  watch_readable(fd, [] { FAIL() << "of the file that is gone"; });
  expect_silence();
  const SocketPair fresh;
  ASSERT_EQ(::dup3(fresh.ours.get(), fd, O_CLOEXEC), fd);
  int calls = 0;
  watch_readable(fd, [&] {
    ++calls;
    char byte = 0;
    EXPECT_EQ(::read(fd, &byte, 1), 1);
  });
  ASSERT_EQ(::write(old_pair.theirs.get(), "x", 1), 1);  // seen through the duplicate, if at all
  expect_silence();
  ASSERT_EQ(::write(fresh.theirs.get(), "y", 1), 1);
  poll_until([&] { return calls == 1; });
  expect_silence();
  context_->remove_fd_handler(fd);
  ::close(fd);
}

}  // namespace
}  // namespace ouro::loop
