// Tests of removing and replacing fd handlers: from callbacks, with events under way, and with
// descriptor numbers that are used again.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "loop/event_notifier.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/socket_pair.hpp"

namespace ouro::loop {
namespace {

using testing::Pipe;
using testing::SocketPair;

class FdRemovalTest : public testing::LoopTest {
 protected:
  void watch_readable(int fd, std::function<void()> callback) {
    context_->set_fd_handler(fd, {std::move(callback), {}});
  }
  void expect_silence() {
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(poll_now());
  }
};

TEST_F(FdRemovalTest, RemovalInTheReadCallbackSuppressesTheWriteCallback) {
  const SocketPair sockets;
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  int events = 0;
  context_->set_fd_handler(sockets.ours.get(), {[&] {
                                                  ++events;
                                                  context_->remove_fd_handler(sockets.ours.get());
                                                },
                                                [] { FAIL(); }});
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 1);
  expect_silence();
}

TEST_F(FdRemovalTest, ReplacingInTheReadCallbackSuppressesTheOldWriteCallback) {
  const SocketPair sockets;
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  int replaced = 0;
  context_->set_fd_handler(
      sockets.ours.get(),
      {[&] {
         context_->set_fd_handler(sockets.ours.get(), {{}, [&] { ++replaced; }});
       },
       [] { FAIL(); }});
  EXPECT_TRUE(poll());
  EXPECT_EQ(replaced, 0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(replaced, 1);
}

// Both are on the ready list when the first removes the second, or the second the first.
TEST_F(FdRemovalTest, ARemovedHandlerIsNotCalledThoughItsEventWasReaped) {
  const std::array<Pipe, 2> pipes;
  int events = 0;
  for (std::size_t i = 0; i < pipes.size(); ++i) {
    watch_readable(pipes[i].reader.get(), [&, i] {
      ++events;
      context_->remove_fd_handler(pipes[1 - i].reader.get());
    });
  }
  expect_silence();
  for (const Pipe& pipe : pipes) pipe.put();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(poll());
  EXPECT_EQ(events, 5);  // of one of them only
}

// The other order: the kernel has the event, the loop does not know of it yet.
TEST_F(FdRemovalTest, ARemovedHandlerIsNotCalledThoughItsEventIsWaiting) {
  const Pipe pipe;
  watch_readable(pipe.reader.get(), [] { FAIL(); });
  expect_silence();
  pipe.put();
  context_->remove_fd_handler(pipe.reader.get());
  expect_silence();
}

TEST_F(FdRemovalTest, NothingIsCalledForAnEventThatComesRightAfterRemoval) {
  const Pipe pipe;
  watch_readable(pipe.reader.get(), [] { FAIL(); });
  expect_silence();
  context_->remove_fd_handler(pipe.reader.get());
  pipe.put();
  expect_silence();
}

// Removal is complete when it returns: an armed poll would keep the file open.
TEST_F(FdRemovalTest, AfterRemovalClosingTheFdIsSeenByThePeer) {
  SocketPair sockets;
  watch_readable(sockets.ours.get(), [] { FAIL(); });
  expect_silence();
  context_->remove_fd_handler(sockets.ours.get());
  sockets.ours.reset();
  char byte = 0;
  EXPECT_EQ(::recv(sockets.theirs.get(), &byte, 1, 0), 0);
}

// Where its poll was armed anew just before.
TEST_F(FdRemovalTest, AfterRemovalInItsCallbackClosingTheFdIsSeenByThePeer) {
  SocketPair sockets;
  ssize_t got = -1;
  watch_readable(sockets.ours.get(), [&] {
    char byte = 0;
    EXPECT_EQ(::read(sockets.ours.get(), &byte, 1), 1);  // after which the poll would wait
    context_->remove_fd_handler(sockets.ours.get());
    sockets.ours.reset();
    got = ::recv(sockets.theirs.get(), &byte, 1, 0);
  });
  expect_silence();
  ASSERT_EQ(::write(sockets.theirs.get(), "x", 1), 1);
  EXPECT_TRUE(poll());
  EXPECT_EQ(got, 0);
}

// --- by another thread ---------------------------------------------------------------------------

class FdRemovalElsewhereTest : public FdRemovalTest {
 protected:
  void remove_elsewhere() {
    std::thread([&] { context_->remove_fd_handler(pipe_.reader.get()); }).join();
  }

  const Pipe pipe_;
  const std::shared_ptr<int> held_ = std::make_shared<int>(0);
};

TEST_F(FdRemovalElsewhereTest, TheHandlerIsNotCalledThoughItsEventWasReaped) {
  watch_readable(pipe_.reader.get(), [held = held_] { FAIL(); });
  expect_silence();
  testing::CountingHandler remover([&](testing::CountingHandler&) { remove_elsewhere(); });
  pipe_.put();
  context_->complete(remover, 0);
  EXPECT_TRUE(poll_now());  // reaps both, and dispatches completions first
  EXPECT_EQ(remover.calls(), 1U);
  expect_silence();
  EXPECT_EQ(held_.use_count(), 1) << "it was not freed";
}

TEST_F(FdRemovalElsewhereTest, TheHandlerIsNotCalledThoughItsEventIsWaiting) {
  watch_readable(pipe_.reader.get(), [held = held_] { FAIL(); });
  expect_silence();
  pipe_.put();
  remove_elsewhere();
  expect_silence();
  EXPECT_EQ(held_.use_count(), 1) << "it was not freed";
}

// Set and removed before the loop had a turn.
TEST_F(FdRemovalElsewhereTest, AHandlerThatTheLoopHasNotSeenIsNeverCalled) {
  pipe_.put();
  std::thread([&] {
    context_->set_fd_handler(pipe_.reader.get(), {[held = held_] { FAIL(); }, {}});
    context_->remove_fd_handler(pipe_.reader.get());
  }).join();
  expect_silence();
  EXPECT_EQ(held_.use_count(), 1) << "it was not freed";
}

TEST_F(FdRemovalElsewhereTest, ClosingTheFdIsSeenByThePeerAfterOneTurn) {
  SocketPair sockets;
  watch_readable(sockets.ours.get(), [] { FAIL(); });
  expect_silence();
  std::thread([&] {
    context_->remove_fd_handler(sockets.ours.get());
    sockets.ours.reset();
  }).join();
  EXPECT_FALSE(poll_now());
  char byte = 0;
  EXPECT_EQ(::recv(sockets.theirs.get(), &byte, 1, 0), 0);
}

// --- all of it -----------------------------------------------------------------------------------

// A storm of events in which handlers remove, close and replace each other, so that every
// descriptor number is used again and again.
TEST_F(FdRemovalTest, ReusedDescriptorNumbersNeverReachAnOldHandler) {
  constexpr int kRounds = 500;
  std::optional<Pipe> victim;
  int generation = 0;
  int victim_events = 0;
  const auto replace_victim = [&] {
    if (victim) {
      context_->remove_fd_handler(victim->reader.get());
      victim.reset();
    }
    victim.emplace();
    ++generation;
    watch_readable(victim->reader.get(), [&, own = generation] {
      EXPECT_EQ(own, generation);
      EXPECT_TRUE(victim->take());
      ++victim_events;
    });
    if (generation % 2 == 0) victim->put();
  };
  replace_victim();
  const int number = victim->reader.get();

  const auto storm = EventNotifier::create().value();
  watch_readable(storm.fd(), [&] {
    storm.test_and_clear();
    if (generation % 3 == 0) victim->put();  // its event may be under way when it is removed
    replace_victim();
    EXPECT_EQ(victim->reader.get(), number);
    if (generation < kRounds) storm.set();
  });
  storm.set();
  poll_until([&] { return generation == kRounds; });
  while (poll_now()) {
  }
  EXPECT_GT(victim_events, 0);
}

}  // namespace
}  // namespace ouro::loop
