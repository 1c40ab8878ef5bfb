// Tests of CqeHandler: the states that it goes through, and what may be done to it in which.
#include "loop/cqe_handler.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;
using State = CqeHandler::State;

class CqeHandlerTest : public testing::LoopTest {};

TEST_F(CqeHandlerTest, GoesThroughItsStates) {
  const Pipe pipe(O_CLOEXEC);
  std::array<char, 1> into{};
  CountingHandler read([](CountingHandler& self) { EXPECT_EQ(self.state(), State::kRunning); });
  EXPECT_EQ(read.state(), State::kIdle);
  add_read(*context_, pipe.reader.get(), into, read);
  EXPECT_EQ(read.state(), State::kInFlight);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(read.state(), State::kInFlight);
  pipe.put();
  while (read.state() == State::kInFlight) context_->submit();
  EXPECT_EQ(read.state(), State::kReady);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(read.state(), State::kIdle);
  EXPECT_EQ(read.calls(), 1U);
}

TEST_F(CqeHandlerTest, AnInlineCompletionIsNeverInFlight) {
  CountingHandler handler([](CountingHandler& self) { EXPECT_EQ(self.state(), State::kRunning); });
  context_->complete(handler, 1);
  EXPECT_EQ(handler.state(), State::kReady);
  context_->cancel(handler);
  EXPECT_TRUE(poll_now());
  EXPECT_EQ(handler.state(), State::kIdle);
  EXPECT_EQ(handler.result(), 1);
}

TEST_F(CqeHandlerTest, ResubmittedInItsCallbackItIsInFlightAgain) {
  CountingHandler handler;
  handler.set_callback([&](CountingHandler& self) {
    if (self.calls() > 1) return;
    add_nop(*context_, self);
    EXPECT_EQ(self.state(), State::kInFlight);
    context_->submit();
    EXPECT_EQ(self.state(), State::kReady);
  });
  add_nop(*context_, handler);
  poll_until([&] { return handler.calls() == 2; });
  EXPECT_EQ(handler.state(), State::kIdle);
}

TEST_F(CqeHandlerTest, ItIsRunningInTheLoopsNestedInItsCallback) {
  CountingHandler outer;
  CountingHandler inner([&](CountingHandler&) { EXPECT_EQ(outer.state(), State::kRunning); });
  outer.set_callback([&](CountingHandler& self) {
    add_nop(*context_, inner);
    while (inner.calls() == 0) context_->poll(Blocking::kYes);
    EXPECT_EQ(self.state(), State::kRunning);
  });
  add_nop(*context_, outer);
  poll_until([&] { return inner.calls() == 1; });
  EXPECT_EQ(outer.state(), State::kIdle);
}

// It runs inside its own callback, which finds it running still.
TEST_F(CqeHandlerTest, ResubmittedAndWaitedForInItsCallback) {
  CountingHandler handler;
  handler.set_callback([&](CountingHandler& self) {
    if (self.calls() >= 20) return;
    const auto before = self.calls();
    add_nop(*context_, self);
    while (self.calls() == before) context_->poll(Blocking::kYes);
    EXPECT_EQ(self.state(), State::kRunning);
  });
  add_nop(*context_, handler);
  poll_until([&] { return handler.calls() == 20; });
  EXPECT_EQ(handler.state(), State::kIdle);
}

// All the calls that it was in see that it is gone, and touch it no more.
TEST_F(CqeHandlerTest, MayBeFreedInACallNestedInItsOwn) {
  std::optional<CountingHandler> handler;
  int calls = 0;
  handler.emplace([&](CountingHandler& self) {
    if (++calls == 10) return handler.reset();
    add_nop(*context_, self);
    const auto& outside = handler;  // what the lambda owns goes with the handler
    AioContext& context = *context_;
    while (outside) context.poll(Blocking::kYes);
  });
  add_nop(*context_, *handler);
  poll_until([&] { return !handler; });
  EXPECT_EQ(calls, 10);
  EXPECT_FALSE(poll_now());
}

TEST_F(CqeHandlerTest, MayBeFreedByAnotherOneInALoopNestedInItsCall) {
  auto outer = std::make_unique<CountingHandler>();
  CountingHandler other([&](CountingHandler&) { outer.reset(); });
  outer->set_callback([&](CountingHandler&) {
    const auto& outside = outer;
    AioContext& context = *context_;
    while (outside) context.poll(Blocking::kYes);
  });
  add_nop(*context_, *outer);
  add_nop(*context_, other);
  poll_until([&] { return !outer; });
  EXPECT_FALSE(poll_now());
}

TEST_F(CqeHandlerTest, MayMoveOnToAnotherContext) {
  const auto other = testing::create_context();
  CountingHandler handler;
  add_nop(*context_, handler);
  poll_until([&] { return handler.calls() == 1; });
  add_nop(*other, handler);
  testing::poll_until(*other, [&] { return handler.calls() == 2; });
  context_.reset();
  EXPECT_EQ(handler.state(), State::kIdle);
}

// --- broken invariants ---------------------------------------------------------------------------

class CqeHandlerDeathTest : public CqeHandlerTest {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(CqeHandlerDeathTest, DestroyedWhileItIsReady) {
  EXPECT_DEATH(
      {
        CountingHandler handler;
        context_->complete(handler, 0);
      },
      "destroyed while its request is in flight");
}

TEST_F(CqeHandlerDeathTest, SubmittedWhileItIsReady) {
  CountingHandler handler;
  EXPECT_DEATH(
      {
        context_->complete(handler, 0);
        add_nop(*context_, handler);
      },
      "submitted twice");
}

TEST_F(CqeHandlerDeathTest, CompletedWhileItIsInFlight) {
  CountingHandler handler;
  EXPECT_DEATH(
      {
        const SubmitScope scope(*context_);
        add_nop(*context_, handler);
        context_->complete(handler, 0);
      },
      "completed twice");
}

TEST_F(CqeHandlerDeathTest, DestroyedInItsCallbackAfterResubmission) {
  EXPECT_DEATH(
      {
        auto handler = std::make_unique<CountingHandler>();
        handler->set_callback([&](CountingHandler& self) {
          add_nop(*context_, self);
          handler.reset();
        });
        context_->complete(*handler, 0);
        (void)poll_now();
      },
      "destroyed while its request is in flight");
}

TEST_F(CqeHandlerDeathTest, InTwoContexts) {
  const auto other = testing::create_context();
  CountingHandler handler;
  EXPECT_DEATH(
      {
        const SubmitScope scope(*context_);
        add_nop(*context_, handler);
        add_nop(*other, handler);
      },
      "submitted twice");
}

}  // namespace
}  // namespace ouro::loop
