// Tests of multishot requests: one submission, many completions, of which the last one ends it.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/tcp.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;
using State = CqeHandler::State;

class MultishotTest : public testing::LoopTest {
 protected:
  void add_poll(CqeHandler& handler) {
    context_->add_sqe(
        [&](io_uring_sqe& sqe) {
          ::io_uring_prep_poll_multishot(&sqe, pipe_.reader.get(), POLLIN);
        },
        handler);
  }
  // One more event of the poll, which the context has reaped.
  void event() {
    pipe_.put();
    const std::uint64_t before = cqes();
    while (cqes() == before) context_->submit();
  }
  [[nodiscard]] std::uint64_t cqes() const {
    return context_->counters().cqes_by_opcode[IORING_OP_POLL_ADD];
  }
  [[nodiscard]] static bool more(const CountingHandler& handler) {
    return (handler.flags() & IORING_CQE_F_MORE) != 0;
  }

  const Pipe pipe_;
};

// On the ring the context polls its own notifier, whose completions count too.
TEST_F(MultishotTest, SeveralCompletionsBeforeDispatchAreSeveralCalls) {
  CountingHandler poll;
  std::vector<State> states;
  poll.set_callback([&](CountingHandler& self) { states.push_back(self.state()); });
  add_poll(poll);
  for (int i = 0; i < 5; ++i) event();
  EXPECT_EQ(poll.calls(), 0U);
  EXPECT_EQ(poll.state(), State::kInFlight);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(poll.calls(), 5U);
  EXPECT_TRUE(more(poll));
  EXPECT_EQ(poll.result() & POLLIN, POLLIN);
  EXPECT_EQ(states, std::vector<State>(5, State::kInFlight));

  context_->cancel(poll);
  poll_until([&] { return poll.calls() == 6; });
  EXPECT_EQ(poll.result(), -ECANCELED);
  EXPECT_FALSE(more(poll));
  EXPECT_EQ(states.back(), State::kRunning);
  EXPECT_EQ(poll.state(), State::kIdle);
  EXPECT_FALSE(poll_now());
}

TEST_F(MultishotTest, ItIsReadyOnceTheLastOneWasReaped) {
  CountingHandler poll;
  std::vector<State> states;
  poll.set_callback([&](CountingHandler& self) { states.push_back(self.state()); });
  add_poll(poll);
  event();
  event();
  context_->cancel(poll);
  while (poll.state() == State::kInFlight) context_->submit();
  EXPECT_EQ(poll.state(), State::kReady);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(states, (std::vector{State::kReady, State::kReady, State::kRunning}));
}

TEST_F(MultishotTest, TheLastCallbackMayFreeTheHandler) {
  auto poll = std::make_unique<CountingHandler>();
  std::uint64_t calls = 0;
  poll->set_callback([&](CountingHandler& self) {
    calls = self.calls();
    if (!more(self)) poll.reset();
  });
  add_poll(*poll);
  for (int i = 0; i < 3; ++i) event();
  context_->cancel(*poll);
  poll_until([&] { return poll == nullptr; });
  EXPECT_EQ(calls, 4U);
  EXPECT_FALSE(poll_now());
}

TEST_F(MultishotTest, TheLastCallbackMaySubmitItAgain) {
  CountingHandler poll;
  int ended = 0;
  poll.set_callback([&](CountingHandler& self) {
    if (!more(self) && ++ended < 3) add_poll(self);
  });
  add_poll(poll);
  while (ended < 3) {
    context_->cancel(poll);
    (void)testing::poll_blocking(*context_);
  }
  EXPECT_EQ(poll.state(), State::kIdle);
}

// A nested loop runs what is left of those that its parent has begun with.
TEST_F(MultishotTest, CallbacksMayNest) {
  CountingHandler poll;
  unsigned deepest = 0;
  poll.set_callback([&](CountingHandler& self) {
    deepest = std::max(deepest, context_->depth());
    if (self.calls() >= 5) return;
    EXPECT_TRUE(context_->poll(Blocking::kYes));
  });
  add_poll(poll);
  for (int i = 0; i < 5; ++i) event();
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(poll.calls(), 5U);
  EXPECT_EQ(deepest, 5U);
  context_->cancel(poll);
  poll_until([&] { return poll.calls() == 6; });
}

TEST_F(MultishotTest, DestructionEndsIt) {
  CountingHandler poll;
  add_poll(poll);
  event();
  context_.reset();
  EXPECT_EQ(poll.calls(), 2U);
  EXPECT_EQ(poll.result(), -ECANCELED);
  EXPECT_EQ(poll.state(), State::kIdle);
}

// Far more than the queues hold.
TEST_F(MultishotTest, OverflowLosesNothing) {
  context_ = testing::create_context(testing::small_ring_options());
  std::vector<CountingHandler> polls(200);
  for (CountingHandler& poll : polls) add_poll(poll);
  EXPECT_FALSE(poll_now());
  pipe_.put();
  const auto all_called = [&] {
    for (const CountingHandler& poll : polls) {
      if (poll.calls() == 0) return false;
    }
    return true;
  };
  poll_until(all_called);
  context_.reset();
  for (const CountingHandler& poll : polls) {
    EXPECT_EQ(poll.state(), State::kIdle);
    EXPECT_FALSE(more(poll));
  }
}

// --- accept --------------------------------------------------------------------------------------

TEST_F(MultishotTest, OneAcceptTakesConnectionsUntilItIsCancelled) {
  constexpr std::size_t kClients = 6;
  testing::TcpListener listener;
  std::vector<UniqueFd> clients;
  std::vector<UniqueFd> servers;
  CountingHandler accept([&](CountingHandler& self) {
    if (self.result() < 0) return;
    EXPECT_TRUE(more(self));
    servers.emplace_back(self.result());
  });
  clients.push_back(listener.connect());  // it waits already
  context_->add_sqe(
      [&](io_uring_sqe& sqe) {
        ::io_uring_prep_multishot_accept(&sqe, listener.fd(), nullptr, nullptr, SOCK_CLOEXEC);
      },
      accept);
  poll_until([&] { return accept.calls() == 1; });
  if (accept.result() == -EINVAL) GTEST_SKIP() << "multishot accept needs Linux 5.19";
  clients.push_back(listener.connect());
  poll_until([&] { return servers.size() == 2; });
  while (clients.size() < kClients) clients.push_back(listener.connect());
  poll_until([&] { return servers.size() == kClients; });
  EXPECT_EQ(accept.calls(), kClients);
  EXPECT_EQ(accept.state(), State::kInFlight);
  for (std::size_t i = 0; i < kClients; ++i) {
    const char sent = static_cast<char>('a' + i);
    char got = 0;
    ASSERT_EQ(::write(clients[i].get(), &sent, 1), 1);
    ASSERT_EQ(::read(servers[i].get(), &got, 1), 1);
    EXPECT_EQ(got, sent);
  }

  context_->cancel(accept);
  poll_until([&] { return accept.calls() == kClients + 1; });
  EXPECT_EQ(accept.result(), -ECANCELED);
  EXPECT_FALSE(more(accept));
  EXPECT_EQ(accept.state(), State::kIdle);
  EXPECT_EQ(context_->counters().cqes_by_opcode[IORING_OP_ACCEPT], kClients + 1);
  const UniqueFd unwanted = listener.connect();
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(servers.size(), kClients);
}

}  // namespace
}  // namespace ouro::loop
