// Tests of AioContext: SQEs and their completions, with and without the ring, and queue limits.
#include "loop/aio_context.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/ring_info.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;

// --- submission and completion -------------------------------------------------------------------

class AioContextTest : public testing::LoopTest {};

TEST_F(AioContextTest, ANopCompletesOnce) {
  CountingHandler nop;
  EXPECT_EQ(nop.state(), CqeHandler::State::kIdle);
  {
    const SubmitScope scope(*context_);
    add_nop(*context_, nop);
    EXPECT_EQ(nop.state(), CqeHandler::State::kInFlight);
    EXPECT_EQ(nop.calls(), 0U);
  }
  EXPECT_TRUE(poll());
  EXPECT_EQ(nop.calls(), 1U);
  EXPECT_EQ(nop.result(), 0);
  EXPECT_EQ(nop.state(), CqeHandler::State::kIdle);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(nop.calls(), 1U);
}

TEST_F(AioContextTest, TheResultIsThatOfTheRequest) {
  const Pipe pipe;
  pipe.put(3);
  std::array<char, 8> into{};
  CountingHandler read;
  add_read(*context_, pipe.reader.get(), into, read);
  EXPECT_TRUE(poll());
  EXPECT_EQ(read.result(), 3);
  EXPECT_EQ(into[2], 'x');

  CountingHandler refused;
  add_read(*context_, -1, into, refused);
  EXPECT_TRUE(poll());
  EXPECT_EQ(refused.result(), -EBADF);
}

TEST_F(AioContextTest, NoCompletionRunsInsideASubmission) {
  CountingHandler nop;
  add_nop(*context_, nop);
  context_->submit();
  context_->submit();
  EXPECT_EQ(nop.calls(), 0U);
  EXPECT_EQ(nop.state(), CqeHandler::State::kReady);
  EXPECT_TRUE(poll());
  EXPECT_EQ(nop.calls(), 1U);
}

// Nobody may be about to poll: a foreign loop could sleep for long.
TEST_F(AioContextTest, AnSqeFromOutsideAnIterationReachesTheKernelAtOnce) {
  const Pipe pipe;
  CountingHandler write;
  context_->add_sqe(
      [&](io_uring_sqe& sqe) { ::io_uring_prep_write(&sqe, pipe.writer.get(), "y", 1, 0); }, write);
  EXPECT_TRUE(pipe.take());
  EXPECT_TRUE(poll());
  EXPECT_EQ(write.result(), 1);
}

TEST_F(AioContextTest, ASubmitScopeGathersAndSubmitSends) {
  const Pipe pipe;
  CountingHandler first;
  CountingHandler second;
  const auto write = [&](io_uring_sqe& sqe) {
    ::io_uring_prep_write(&sqe, pipe.writer.get(), "y", 1, 0);
  };
  {
    const SubmitScope scope(*context_);
    context_->add_sqe(write, first);
    EXPECT_FALSE(pipe.take());
    context_->submit();
    EXPECT_TRUE(pipe.take());
    const SubmitScope inner(*context_);
    context_->add_sqe(write, second);
    EXPECT_FALSE(pipe.take());
  }
  EXPECT_TRUE(pipe.take());
  poll_until([&] { return first.calls() == 1 && second.calls() == 1; });
}

TEST_F(AioContextTest, ACallbackMayFreeItsHandler) {
  class SelfDestroying final : public CqeHandler {
   public:
    explicit SelfDestroying(int& called) : called_(called) {}

   private:
    void on_cqe(const Cqe& /*cqe*/) override {
      ++called_;
      delete this;
    }
    int& called_;
  };
  int called = 0;
  for (int i = 0; i < 10; ++i) {
    add_nop(*context_, *std::make_unique<SelfDestroying>(called).release());
  }
  poll_until([&] { return called == 10; });
}

TEST_F(AioContextTest, ACallbackMayResubmitItsHandler) {
  constexpr std::uint64_t kTimes = 10'000;
  CountingHandler nop([&](CountingHandler& self) {
    if (self.calls() < kTimes) add_nop(*context_, self);
  });
  add_nop(*context_, nop);
  poll_until([&] { return nop.calls() == kTimes; });
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(nop.calls(), kTimes);
}

TEST_F(AioContextTest, AResubmittedHandlerDoesNotStarveOthers) {
  CountingHandler greedy([&](CountingHandler& self) { context_->complete(self, 0); });
  context_->complete(greedy, 0);
  CountingHandler other;
  context_->complete(other, 0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(greedy.calls(), 1U);
  EXPECT_EQ(other.calls(), 1U);
  greedy.set_callback({});
  EXPECT_TRUE(poll());
}

// --- completions without the ring ----------------------------------------------------------------

TEST_F(AioContextTest, AnInlineCompletionRunsInTheNextDispatchPhase) {
  CountingHandler handler;
  context_->complete(handler, -EXDEV);
  EXPECT_EQ(handler.calls(), 0U);
  EXPECT_TRUE(poll());
  EXPECT_EQ(handler.calls(), 1U);
  EXPECT_EQ(handler.result(), -EXDEV);
}

TEST_F(AioContextTest, CompletionsRunInOrderWhateverTheirOrigin) {
  std::vector<int> order;
  CountingHandler first([&](CountingHandler&) { order.push_back(1); });
  CountingHandler second([&](CountingHandler&) { order.push_back(2); });
  CountingHandler third([&](CountingHandler&) { order.push_back(3); });
  add_nop(*context_, first);
  context_->submit();
  context_->complete(second, 0);
  add_nop(*context_, third);
  EXPECT_TRUE(poll());
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

// An executor that answers at once must not recurse. Each level of recursion would take some
// bytes of stack; a million of them would be noticed.
TEST_F(AioContextTest, InlineCompletionsTakeConstantStack) {
  constexpr std::uint64_t kTimes = 1'000'000;
  std::uintptr_t lowest = UINTPTR_MAX;
  std::uintptr_t highest = 0;
  CountingHandler handler([&](CountingHandler& self) {
    const char here = 0;
    lowest = std::min(lowest, reinterpret_cast<std::uintptr_t>(&here));
    highest = std::max(highest, reinterpret_cast<std::uintptr_t>(&here));
    if (self.calls() < kTimes) context_->complete(self, 0);
  });
  context_->complete(handler, 0);
  poll_until([&] { return handler.calls() == kTimes; });
  EXPECT_LT(highest - lowest, 4096U);
  EXPECT_EQ(context_->counters().inline_completions, kTimes);
}

TEST_F(AioContextTest, TwoThatWakeEachOtherTakeConstantStack) {
  constexpr std::uint64_t kTimes = 25'000;
  CountingHandler ping;
  CountingHandler pong([&](CountingHandler&) { context_->complete(ping, 0); });
  ping.set_callback([&](CountingHandler& self) {
    EXPECT_EQ(context_->depth(), 1U);
    if (self.calls() < kTimes) context_->complete(pong, 0);
  });
  context_->complete(ping, 0);
  poll_until([&] { return ping.calls() == kTimes; });
  EXPECT_EQ(pong.calls(), kTimes - 1);
}

TEST_F(AioContextTest, CountersTellTheRingsWorkFromInlineWork) {
  CountingHandler nop;
  CountingHandler read;
  CountingHandler done_inline;
  std::array<char, 1> into{};
  add_nop(*context_, nop);
  add_read(*context_, -1, into, read);
  context_->complete(done_inline, 0);
  poll_until([&] { return nop.calls() + read.calls() + done_inline.calls() == 3; });
  const LoopCounters& counters = context_->counters();
  EXPECT_EQ(counters.cqes_by_opcode[IORING_OP_NOP], 1U);
  EXPECT_EQ(counters.cqes_by_opcode[IORING_OP_READ], 1U);
  EXPECT_EQ(counters.cqes_by_opcode[IORING_OP_WRITE], 0U);
  EXPECT_EQ(counters.inline_completions, 1U);
  const std::uint64_t iterations = counters.iterations;
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(context_->counters().iterations, iterations + 1);
}

// --- queue limits --------------------------------------------------------------------------------

class SmallRingTest : public AioContextTest {
 protected:
  static constexpr std::size_t kMany = 2000;

  SmallRingTest() { context_ = testing::create_context(testing::small_ring_options()); }

  [[nodiscard]] bool all_called() const {
    for (const CountingHandler& handler : handlers_) {
      if (handler.calls() != 1) return false;
    }
    return true;
  }

  std::vector<CountingHandler> handlers_ = std::vector<CountingHandler>(kMany);
};

TEST_F(SmallRingTest, ThousandsOfSqesInOneGoCompleteInOrder) {
  std::vector<const CountingHandler*> order;
  for (CountingHandler& handler : handlers_) {
    handler.set_callback([&](CountingHandler& self) { order.push_back(&self); });
    add_nop(*context_, handler);
  }
  EXPECT_TRUE(order.empty());  // a full queue submits, but runs nobody
  poll_until([&] { return order.size() == kMany; });
  EXPECT_TRUE(all_called());
  for (std::size_t i = 0; i < kMany; ++i) EXPECT_EQ(order[i], &handlers_[i]);
}

// All in flight until one event completes them together, in a queue for 16.
TEST_F(SmallRingTest, ThousandsOfCompletionsAtOnceOverflowWithoutLoss) {
  const Pipe pipe;
  for (CountingHandler& handler : handlers_) {
    context_->add_sqe(
        [&](io_uring_sqe& sqe) { ::io_uring_prep_poll_add(&sqe, pipe.reader.get(), POLLIN); },
        handler);
  }
  EXPECT_FALSE(poll_now());
  pipe.put();
  context_->ring().enter(0);
  EXPECT_TRUE(testing::cq_has_overflowed(context_->ring().fd())) << "the subject was not reached";
  poll_until([&] { return all_called(); });
  for (const CountingHandler& handler : handlers_) EXPECT_EQ(handler.result(), POLLIN);
}

TEST_F(SmallRingTest, CallbacksMayAddMoreThanTheQueueHolds) {
  CountingHandler first([&](CountingHandler&) {
    for (CountingHandler& handler : handlers_) add_nop(*context_, handler);
  });
  add_nop(*context_, first);
  poll_until([&] { return all_called(); });
}

TEST_F(SmallRingTest, CancellingMoreThanTheQueueHoldsReachesAll) {
  const Pipe pipe;
  std::array<char, 1> into{};
  for (CountingHandler& handler : handlers_) {
    add_read(*context_, pipe.reader.get(), into, handler);
  }
  for (CountingHandler& handler : handlers_) context_->cancel(handler);
  poll_until([&] { return all_called(); });
}

}  // namespace
}  // namespace ouro::loop
