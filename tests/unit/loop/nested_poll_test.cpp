// Tests of loops inside callbacks: a nested poll() must find what its parent has not dispatched
// yet, must not replay what it has, and must free nothing that its parent still holds.
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/event_notifier.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::CountingHandler;
using testing::Pipe;

class NestedPollTest : public testing::LoopTest {
 protected:
  void watch(const Pipe& pipe, std::function<void()> callback) {
    context_->set_fd_handler(pipe.reader.get(), {std::move(callback), {}});
  }
};

// --- completions ---------------------------------------------------------------------------------

// A and B complete in the same batch; A waits for B. No new event comes: whoever sleeps because
// the ring is empty sleeps for ever.
TEST_F(NestedPollTest, WaitsForASiblingOfTheSameBatch) {
  CountingHandler b;
  CountingHandler a([&](CountingHandler&) { poll_until([&] { return b.calls() > 0; }); });
  add_nop(*context_, a);
  add_nop(*context_, b);
  EXPECT_TRUE(poll());
  EXPECT_EQ(a.calls(), 1U);
  EXPECT_EQ(b.calls(), 1U);
  EXPECT_FALSE(poll_now());
}

TEST_F(NestedPollTest, WaitsForASiblingThatWasCompletedInline) {
  CountingHandler b;
  CountingHandler a([&](CountingHandler&) { poll_until([&] { return b.calls() > 0; }); });
  context_->complete(a, 0);
  context_->complete(b, 0);
  EXPECT_TRUE(poll());
  EXPECT_EQ(b.calls(), 1U);
}

TEST_F(NestedPollTest, WaitsForARequestOfItsOwn) {
  int done = 0;
  CountingHandler outer([&](CountingHandler&) {
    CountingHandler inner;  // on the stack of the wait, as an Op is
    add_nop(*context_, inner);
    poll_until([&] { return inner.calls() > 0; });
    ++done;
  });
  add_nop(*context_, outer);
  poll_until([&] { return done == 1; });
}

TEST_F(NestedPollTest, AHandlerMayWaitForItself) {
  std::vector<unsigned> depths;
  CountingHandler handler([&](CountingHandler& self) {
    depths.push_back(context_->depth());
    if (self.calls() > 1) return;
    add_nop(*context_, self);
    poll_until([&] { return self.calls() == 2; });
  });
  add_nop(*context_, handler);
  EXPECT_TRUE(poll());
  EXPECT_EQ(depths, (std::vector{1U, 2U}));
}

// Every level waits for the next one, and all end in reverse order.
TEST_F(NestedPollTest, FiftyLevelsDeep) {
  constexpr std::size_t kLevels = 50;
  std::vector<CountingHandler> handlers(kLevels);
  std::vector<unsigned> left;
  for (std::size_t i = 0; i < kLevels; ++i) {
    handlers[i].set_callback([&, i](CountingHandler&) {
      const unsigned depth = context_->depth();
      EXPECT_EQ(depth, i + 1);
      if (i + 1 < kLevels) {
        add_nop(*context_, handlers[i + 1]);
        poll_until([&] { return handlers[i + 1].calls() > 0; });
      }
      EXPECT_EQ(context_->depth(), depth);
      left.push_back(depth);
    });
  }
  add_nop(*context_, handlers[0]);
  EXPECT_TRUE(poll());
  ASSERT_EQ(left.size(), kLevels);
  for (std::size_t i = 0; i < kLevels; ++i) EXPECT_EQ(left[i], kLevels - i);
  EXPECT_EQ(context_->depth(), 0U);
}

// The same with one batch for all levels: each finds the rest of the list that its parent left.
TEST_F(NestedPollTest, FiftyLevelsDeepInOneBatch) {
  constexpr std::size_t kLevels = 50;
  std::vector<CountingHandler> handlers(kLevels);
  for (std::size_t i = 0; i < kLevels; ++i) {
    handlers[i].set_callback([&, i](CountingHandler&) {
      EXPECT_EQ(context_->depth(), i + 1);
      if (i + 1 < kLevels) poll_until([&] { return handlers[i + 1].calls() > 0; });
    });
  }
  for (CountingHandler& handler : handlers) add_nop(*context_, handler);
  EXPECT_TRUE(poll());
  for (const CountingHandler& handler : handlers) EXPECT_EQ(handler.calls(), 1U);
}

TEST_F(NestedPollTest, ANestedLoopMayFreeTheHandlerOfItsParent) {
  auto handler = std::make_unique<CountingHandler>();
  CountingHandler freeing([&](CountingHandler&) { handler.reset(); });
  handler->set_callback([&](CountingHandler&) {
    add_nop(*context_, freeing);
    // No capture of this closure may be used any more once its handler is gone.
    AioContext& context = *context_;
    const CountingHandler& waited_for = freeing;
    testing::poll_until(context, [&] { return waited_for.calls() > 0; });
  });
  add_nop(*context_, *handler);
  EXPECT_TRUE(poll());
  EXPECT_EQ(handler, nullptr);
}

// --- file descriptors ----------------------------------------------------------------------------

// A handler that has taken its data is not called again by the loop nested in it, and works
// afterwards.
TEST_F(NestedPollTest, ADrainedHandlerIsNotCalledRecursively) {
  const Pipe a;
  const auto b = EventNotifier::create().value();
  int a_events = 0;
  int b_events = 0;
  bool inside = false;
  context_->set_fd_handler(b.fd(), {[&] { b_events += b.test_and_clear(); }, {}});
  watch(a, [&] {
    EXPECT_FALSE(inside);
    inside = true;
    ++a_events;
    EXPECT_TRUE(a.take());
    b.set();
    const int before = b_events;
    poll_until([&] { return b_events > before; });
    inside = false;
  });
  for (int i = 1; i <= 3; ++i) {
    a.put();
    poll_until([&] { return a_events == i; });
    EXPECT_EQ(b_events, i);
  }
  EXPECT_FALSE(poll_now());
}

// The handler must be armed while it runs: what comes meanwhile is served by the nested loop.
TEST_F(NestedPollTest, ANestedLoopSeesNewDataOfTheFdItIsNestedIn) {
  const Pipe pipe;
  int events = 0;
  watch(pipe, [&] {
    EXPECT_TRUE(pipe.take());
    if (++events > 1) return;
    pipe.put();
    poll_until([&] { return events == 2; });
  });
  pipe.put();
  EXPECT_TRUE(poll());
  EXPECT_EQ(events, 2);
  EXPECT_FALSE(poll_now());
}

// Both are on the ready list of the outer loop; the nested one runs B, and the outer one must
// not run it again for an event that was consumed.
TEST_F(NestedPollTest, AnEventIsRunByEitherLoopButNotByBoth) {
  const Pipe a;
  const Pipe b;
  int b_events = 0;
  watch(a, [&] {
    EXPECT_TRUE(a.take());
    EXPECT_TRUE(poll());
    EXPECT_EQ(b_events, 1);
  });
  watch(b, [&] {
    ++b_events;
    EXPECT_TRUE(b.take());
  });
  EXPECT_FALSE(poll_now());
  a.put();
  b.put();
  EXPECT_TRUE(poll());
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(b_events, 1);
}

// The completion of A nests while the event of B was reaped with it and waits for its phase.
TEST_F(NestedPollTest, ACompletionWaitsForAnEventOfTheSameBatch) {
  const Pipe b;
  int b_events = 0;
  watch(b, [&] { b_events += b.take() ? 1 : 0; });
  EXPECT_FALSE(poll_now());
  b.put();
  CountingHandler a([&](CountingHandler&) { poll_until([&] { return b_events > 0; }); });
  add_nop(*context_, a);
  EXPECT_TRUE(poll());
  EXPECT_EQ(b_events, 1);
  EXPECT_FALSE(poll_now());
}

// The parent is inside the callback of a handler that the nested loop removes and replaces many
// times: nothing of it may be freed before the parent has left it.
TEST_F(NestedPollTest, ANestedLoopMayRemoveTheHandlerOfItsParent) {
  const Pipe pipe;
  std::string kept = "the closure is alive";
  std::string seen;
  CountingHandler remover([&](CountingHandler&) {
    for (int i = 0; i < 10; ++i) watch(pipe, [] { FAIL(); });
    context_->remove_fd_handler(pipe.reader.get());
  });
  context_->set_fd_handler(pipe.reader.get(), {[this, &remover, &seen, kept] {
                                                 add_nop(*context_, remover);
                                                 poll_until([&] { return remover.calls() > 0; });
                                                 EXPECT_FALSE(poll_now());
                                                 seen = kept;  // a copy inside the handler
                                               },
                                               [] { FAIL(); }});
  pipe.put();
  EXPECT_TRUE(poll());
  EXPECT_EQ(seen, kept);
  EXPECT_FALSE(poll_now());
}

// --- bottom halves -------------------------------------------------------------------------------

TEST_F(NestedPollTest, ABottomHalfWaitsForASiblingOfTheSameIteration) {
  int ran = 0;
  BottomHalf second(*context_, [&] { ++ran; });
  BottomHalf first(*context_, [&] { poll_until([&] { return ran == 1; }); });
  first.schedule();
  second.schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(poll_now());
}

TEST_F(NestedPollTest, ABottomHalfDestroyedByANestedLoopDoesNotRunInItsParent) {
  auto victim = std::make_unique<BottomHalf>(*context_, [] { FAIL(); });
  CountingHandler destroyer([&](CountingHandler&) { victim.reset(); });
  BottomHalf first(*context_, [&] {
    context_->complete(destroyer, 0);
    EXPECT_TRUE(poll());
  });
  first.schedule();
  victim->schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(victim, nullptr);
}

TEST_F(NestedPollTest, ANestedLoopMayDestroyTheBottomHalfOfItsParent) {
  auto bh = std::unique_ptr<BottomHalf>();
  CountingHandler destroyer([&](CountingHandler&) { bh.reset(); });
  bh = std::make_unique<BottomHalf>(*context_, [&] {
    bh->schedule();  // which is void
    context_->complete(destroyer, 0);
    EXPECT_TRUE(poll_now());
  });
  bh->schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(bh, nullptr);
  EXPECT_FALSE(poll_now());
}

TEST_F(NestedPollTest, ABottomHalfMayBeScheduledAndRunInsideItself) {
  int ran = 0;
  std::unique_ptr<BottomHalf> bh;
  bh = std::make_unique<BottomHalf>(*context_, [&] {
    if (++ran == 3) return;
    bh->schedule();
    EXPECT_TRUE(poll());
  });
  bh->schedule();
  EXPECT_TRUE(poll());
  EXPECT_EQ(ran, 3);
  EXPECT_FALSE(poll_now());
}

// --- across the phases ---------------------------------------------------------------------------

// A wait in one phase for something of each other phase.
TEST_F(NestedPollTest, ATimerCallbackMayWaitForEverythingElse) {
  const Pipe pipe;
  int fd_events = 0;
  int ran = 0;
  bool finished = false;
  CountingHandler nop;
  watch(pipe, [&] { fd_events += pipe.take() ? 1 : 0; });
  BottomHalf bh(*context_, [&] { ++ran; });
  Timer inner(*context_, [&] { ++ran; });
  Timer outer(*context_, [&] {
    pipe.put();
    bh.schedule();
    inner.arm_in(1'000'000);
    add_nop(*context_, nop);
    poll_until([&] { return fd_events == 1 && ran == 2 && nop.calls() == 1; });
    finished = true;
  });
  outer.arm_in(0);
  poll_until([&] { return finished; });
}

// A loop that a nested one has served is not woken by what was served.
TEST_F(NestedPollTest, LeavesNothingToDo) {
  CountingHandler nop([&](CountingHandler&) {
    CountingHandler inner;
    add_nop(*context_, inner);
    poll_until([&] { return inner.calls() > 0; });
  });
  add_nop(*context_, nop);
  EXPECT_TRUE(poll());
  const std::uint64_t enters = context_->ring().enter_calls();
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(poll_now());
  EXPECT_EQ(context_->ring().enter_calls(), enters);
}

}  // namespace
}  // namespace ouro::loop
