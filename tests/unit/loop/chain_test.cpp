// Tests of add_chain(): how linked requests complete, fail, are silent and are cancelled.
#include <linux/time_types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::CountingHandler;
using testing::Pipe;

// One link: what it does, and the flags of its SQE.
using Link = std::function<void(io_uring_sqe&)>;

Link with_flags(unsigned flags, const Link& link) {
  return [flags, link](io_uring_sqe& sqe) {
    link(sqe);
    sqe.flags |= static_cast<std::uint8_t>(flags);
  };
}
Link silent(const Link& link) {
  return with_flags(IOSQE_CQE_SKIP_SUCCESS, link);
}
Link hard(const Link& link) {
  return with_flags(IOSQE_IO_HARDLINK, link);
}

void nop(io_uring_sqe& sqe) {
  ::io_uring_prep_nop(&sqe);
}
void fails(io_uring_sqe& sqe) {
  ::io_uring_prep_fsync(&sqe, -1, 0);  // EBADF
}

class ChainTest : public testing::LoopTest {
 protected:
  void add(const std::vector<Link>& links) {
    while (handlers_.size() < links.size()) {
      handlers_.push_back(std::make_unique<CountingHandler>(
          [this](CountingHandler& self) { order_.push_back(index_of(self)); }));
    }
    std::vector<CqeHandler*> chain;
    for (std::size_t i = 0; i < links.size(); ++i) chain.push_back(handlers_[i].get());
    context_->add_chain(chain, [&](std::size_t i, io_uring_sqe& sqe) { links[i](sqe); });
    size_ = links.size();
  }

  [[nodiscard]] std::size_t index_of(const CountingHandler& handler) const {
    for (std::size_t i = 0; i < handlers_.size(); ++i) {
      if (handlers_[i].get() == &handler) return i;
    }
    return SIZE_MAX;
  }
  [[nodiscard]] CountingHandler& handler(std::size_t i) { return *handlers_[i]; }

  // Until the last one was called, and a while longer: for completions that must not come.
  void run() {
    const std::uint64_t before = handler(size_ - 1).calls();
    poll_until([&] { return handler(size_ - 1).calls() > before; });
    expect_end();
  }
  void expect_end() {
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(poll_now());
    for (const auto& each : handlers_) EXPECT_EQ(each->state(), CqeHandler::State::kIdle);
  }

  // A read of a pipe that has nothing, which waits in the kernel.
  [[nodiscard]] Link read_pipe() {
    return [this](io_uring_sqe& sqe) {
      ::io_uring_prep_read(&sqe, pipe_.reader.get(), into_.data(), kReadBytes, 0);
    };
  }

  using Order = std::vector<std::size_t>;
  const Pipe pipe_{O_CLOEXEC};
  static constexpr unsigned kReadBytes = 8;
  std::array<char, kReadBytes> into_{};
  std::vector<std::unique_ptr<CountingHandler>> handlers_;
  std::size_t size_ = 0;
  Order order_;
};

// --- success and failure -------------------------------------------------------------------------

TEST_F(ChainTest, EachStartsAfterTheOneBeforeIt) {
  const auto write = [this](const char* text) {
    return [this, text](io_uring_sqe& sqe) {
      ::io_uring_prep_write(&sqe, pipe_.writer.get(), text, 1, 0);
    };
  };
  // The first two go to kernel workers, which would run them in any order.
  add({with_flags(IOSQE_ASYNC, write("a")), with_flags(IOSQE_ASYNC, write("b")), write("c")});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2}));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(handler(i).result(), 1);
  ASSERT_EQ(::read(pipe_.reader.get(), into_.data(), into_.size()), 3);
  EXPECT_EQ(std::string(into_.data(), 3), "abc");
}

TEST_F(ChainTest, OneLinkIsAChain) {
  add({nop});
  run();
  EXPECT_EQ(order_, (Order{0}));
}

TEST_F(ChainTest, AFailureCancelsAllBehindIt) {
  add({nop, fails, nop, nop});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2, 3}));
  EXPECT_EQ(handler(0).result(), 0);
  EXPECT_EQ(handler(1).result(), -EBADF);
  EXPECT_EQ(handler(2).result(), -ECANCELED);
  EXPECT_EQ(handler(3).result(), -ECANCELED);
}

// The kernel rejects it before it starts any of them.
TEST_F(ChainTest, ALinkThatIsNoRequestEndsThemAll) {
  add({nop, [](io_uring_sqe& sqe) { sqe.opcode = 255; }, nop});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2}));
  EXPECT_EQ(handler(0).result(), -ECANCELED);
  EXPECT_EQ(handler(1).result(), -EINVAL);
  EXPECT_EQ(handler(2).result(), -ECANCELED);
}

TEST_F(ChainTest, AShortReadIsAFailure) {
  pipe_.put(3);
  add({read_pipe(), nop});
  run();
  EXPECT_EQ(handler(0).result(), 3);
  EXPECT_EQ(handler(1).result(), -ECANCELED);
}

TEST_F(ChainTest, AHardLinkGoesOnAfterAFailure) {
  add({hard(fails), hard(nop), fails, nop});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2, 3}));
  EXPECT_EQ(handler(0).result(), -EBADF);
  EXPECT_EQ(handler(1).result(), 0);
  EXPECT_EQ(handler(2).result(), -EBADF);
  EXPECT_EQ(handler(3).result(), -ECANCELED);
}

// --- silent links --------------------------------------------------------------------------------

TEST_F(ChainTest, SilentLinksThatSucceedAreIdleAgainWithoutACall) {
  add({silent(nop), silent(nop), nop, nop});
  run();
  EXPECT_EQ(order_, (Order{2, 3}));
}

TEST_F(ChainTest, ASilentLinkIsInFlightUntilALaterOneIsTold) {
  add({silent(nop), read_pipe(), nop});
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(handler(0).state(), CqeHandler::State::kInFlight);
  pipe_.put(8);
  run();
  EXPECT_EQ(order_, (Order{1, 2}));
}

TEST_F(ChainTest, ASilentLinkThatFailsIsCalledAndSoAreAllBehindIt) {
  add({silent(nop), silent(fails), silent(nop), nop, nop});
  run();
  EXPECT_EQ(order_, (Order{1, 2, 3, 4}));
  EXPECT_EQ(handler(1).result(), -EBADF);
  for (std::size_t i = 2; i < 5; ++i) EXPECT_EQ(handler(i).result(), -ECANCELED);
}

TEST_F(ChainTest, AShortReadInASilentLinkIsAFailure) {
  pipe_.put(3);
  add({silent(read_pipe()), nop, nop});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2}));
  EXPECT_EQ(handler(0).result(), 3);
  EXPECT_EQ(handler(1).result(), -ECANCELED);
  EXPECT_EQ(handler(2).result(), -ECANCELED);
}

TEST_F(ChainTest, AFailureBehindSilentLinksIsOrdinary) {
  add({silent(nop), fails, nop, nop});
  run();
  EXPECT_EQ(order_, (Order{1, 2, 3}));
  EXPECT_EQ(handler(1).result(), -EBADF);
  EXPECT_EQ(handler(2).result(), -ECANCELED);
  EXPECT_EQ(handler(3).result(), -ECANCELED);
}

// The kernel fails the first link for it.
TEST_F(ChainTest, ALinkThatIsNoRequestEndsSilentOnesToo) {
  add({silent(nop), silent(nop), [](io_uring_sqe& sqe) { sqe.opcode = 255; }, nop});
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2, 3}));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(handler(i).result(), -ECANCELED);
}

TEST_F(ChainTest, ASilentOneIsFreeForUseInTheCallbackOfALaterOne) {
  handlers_.push_back(std::make_unique<CountingHandler>());
  handlers_.push_back(std::make_unique<CountingHandler>([&](CountingHandler&) {
    EXPECT_EQ(handler(0).state(), CqeHandler::State::kIdle);
    handlers_[0] = std::make_unique<CountingHandler>();
  }));
  add({silent(nop), nop});
  run();
  EXPECT_EQ(handler(0).calls(), 0U);
}

// --- a time limit --------------------------------------------------------------------------------

// KERNEL: the completion of a timeout that strikes comes before that of what it cancels.
TEST_F(ChainTest, ALinkedTimeoutEndsTheOneBeforeIt) {
  __kernel_timespec limit{0, 2'000'000};
  const auto timeout = [&](io_uring_sqe& sqe) { ::io_uring_prep_link_timeout(&sqe, &limit, 0); };
  add({nop, read_pipe(), timeout, nop});
  poll_until([&] { return order_.size() == 4; });
  expect_end();
  EXPECT_EQ(handler(0).result(), 0);
  EXPECT_EQ(handler(1).result(), -ECANCELED);
  EXPECT_EQ(handler(2).result(), -ETIME);
  EXPECT_EQ(handler(3).result(), -ECANCELED);
}

TEST_F(ChainTest, ALinkedTimeoutThatIsNotNeededIsCancelled) {
  __kernel_timespec limit{60, 0};
  pipe_.put(8);
  add({read_pipe(), [&](io_uring_sqe& sqe) { ::io_uring_prep_link_timeout(&sqe, &limit, 0); },
       nop});
  poll_until([&] { return order_.size() == 3; });
  expect_end();
  EXPECT_EQ(handler(0).result(), 8);
  EXPECT_EQ(handler(1).result(), -ECANCELED);
  EXPECT_EQ(handler(2).result(), 0);
}

// --- cancellation --------------------------------------------------------------------------------

TEST_F(ChainTest, CancellingAnyLinkCancelsThePendingFirst) {
  for (std::size_t which = 0; which < 3; ++which) {
    order_.clear();
    add({read_pipe(), nop, nop});
    EXPECT_FALSE(poll_now());
    context_->cancel(handler(which));
    run();
    EXPECT_EQ(order_, (Order{0, 1, 2})) << which;
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(handler(i).result(), -ECANCELED);
  }
}

// Nobody has told the context that the silent ones before it have ended.
TEST_F(ChainTest, CancellingAnyLinkCancelsThePendingOneBehindSilentOnes) {
  for (std::size_t which = 0; which < 4; ++which) {
    order_.clear();
    add({silent(nop), silent(nop), read_pipe(), nop});
    EXPECT_FALSE(poll_now());
    context_->cancel(handler(which));
    run();
    EXPECT_EQ(order_, (Order{2, 3})) << which;
    EXPECT_EQ(handler(2).result(), -ECANCELED);
    EXPECT_EQ(handler(3).result(), -ECANCELED);
  }
}

TEST_F(ChainTest, CancellingASilentPendingLinkTellsAll) {
  for (std::size_t which = 0; which < 3; ++which) {
    order_.clear();
    add({silent(read_pipe()), silent(nop), nop});
    EXPECT_FALSE(poll_now());
    context_->cancel(handler(which));
    run();
    EXPECT_EQ(order_, (Order{0, 1, 2})) << which;
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(handler(i).result(), -ECANCELED);
  }
}

// The first has ended, which is known to the kernel only.
TEST_F(ChainTest, CancellingReachesALinkThatHasBegunUnseen) {
  std::array<char, kReadBytes> second{};
  const auto read_again = [&](io_uring_sqe& sqe) {
    ::io_uring_prep_read(&sqe, pipe_.reader.get(), second.data(), kReadBytes, 0);
  };
  add({read_pipe(), read_again, nop});
  EXPECT_FALSE(poll_now());
  pipe_.put(8);
  (void)context_->ring().enter(0);  // the first completes, and the second begins
  context_->cancel(handler(2));
  run();
  EXPECT_EQ(order_, (Order{0, 1, 2}));
  EXPECT_EQ(handler(0).result(), 8);
  EXPECT_EQ(handler(1).result(), -ECANCELED);
  EXPECT_EQ(handler(2).result(), -ECANCELED);
}

TEST_F(ChainTest, DestructionTellsAllOfAChain) {
  add({silent(nop), read_pipe(), nop});
  std::array<CountingHandler, 3> more;
  std::array<CqeHandler*, 3> chain = {&more[0], &more[1], &more[2]};
  context_->add_chain(chain, [&](std::size_t i, io_uring_sqe& sqe) {
    read_pipe()(sqe);
    if (i < 2) sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  });
  context_.reset();
  EXPECT_EQ(order_, (Order{1, 2}));
  for (const CountingHandler& each : more) {
    EXPECT_EQ(each.calls(), 1U);
    EXPECT_EQ(each.result(), -ECANCELED);
  }
}

// --- queue limits and reuse ----------------------------------------------------------------------

TEST_F(ChainTest, AsLongAsTheQueueThoughItIsNearlyFull) {
  context_ = testing::create_context(testing::small_ring_options());
  for (std::size_t before = 0; before < 8; ++before) {
    order_.clear();
    std::array<CountingHandler, 8> others;
    {
      const SubmitScope scope(*context_);
      for (std::size_t i = 0; i < before; ++i) testing::add_nop(*context_, others[i]);
      add({fails, nop, nop, nop, nop, nop, nop, nop});
    }
    run();
    EXPECT_EQ(order_, (Order{0, 1, 2, 3, 4, 5, 6, 7}));
    for (std::size_t i = 1; i < 8; ++i) EXPECT_EQ(handler(i).result(), -ECANCELED) << before;
    for (std::size_t i = 0; i < before; ++i) EXPECT_EQ(others[i].calls(), 1U);
  }
}

TEST_F(ChainTest, HandlersMayBeUsedAgainAsLinksAndAlone) {
  for (int round = 0; round < 100; ++round) {
    order_.clear();
    add({silent(nop), nop, nop});
    run();
    EXPECT_EQ(order_, (Order{1, 2}));
    order_.clear();
    add({silent(fails), nop});
    run();
    EXPECT_EQ(order_, (Order{0, 1}));
    order_.clear();
    for (std::size_t i = 0; i < 3; ++i) testing::add_nop(*context_, handler(i));
    run();
    EXPECT_EQ(order_, (Order{0, 1, 2}));
    EXPECT_EQ(handler(0).result(), 0);
  }
}

TEST_F(ChainTest, ACallbackMayAddTheNextChain) {
  CountingHandler first;
  CountingHandler second;
  const std::array<CqeHandler*, 2> chain = {&first, &second};
  const auto add_it = [&] {
    context_->add_chain(chain, [](std::size_t i, io_uring_sqe& sqe) {
      ::io_uring_prep_nop(&sqe);
      if (i == 0) sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    });
  };
  second.set_callback([&](CountingHandler& self) {
    if (self.calls() < 1000) add_it();
  });
  add_it();
  poll_until([&] { return second.calls() == 1000; });
  EXPECT_EQ(first.calls(), 0U);
  expect_end();
}

// A link may be freed in its callback while those behind it are in flight.
TEST_F(ChainTest, ACallbackMayFreeItsLink) {
  handlers_.push_back(std::make_unique<CountingHandler>(
      [&](CountingHandler&) { handlers_[0] = std::make_unique<CountingHandler>(); }));
  add({nop, read_pipe(), nop});
  EXPECT_TRUE(poll());
  pipe_.put(8);
  poll_until([&] { return order_.size() == 2; });
  EXPECT_EQ(order_, (Order{1, 2}));
}

// --- what is no chain ----------------------------------------------------------------------------

class ChainDeathTest : public ChainTest {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ChainDeathTest, TheLastIsSilent) {
  EXPECT_DEATH(add({nop, silent(nop)}), "the last of a chain");
}

TEST_F(ChainDeathTest, LongerThanTheQueue) {
  context_ = testing::create_context(testing::small_ring_options());
  EXPECT_DEATH(add(std::vector<Link>(9, nop)), "longer than the queue");
}

// What the kernel does then cannot be told from other failures.
TEST_F(ChainDeathTest, ASilentLinkBehindOneThatIsNot) {
  EXPECT_DEATH(add({nop, silent(nop), nop}), "only the first links");
  EXPECT_DEATH(add({hard(silent(nop)), nop}), "only the first links");
  EXPECT_DEATH(add({silent(nop), [](io_uring_sqe& sqe) { sqe.opcode = IORING_OP_LINK_TIMEOUT; }}),
               "only the first links");
}

}  // namespace
}  // namespace ouro::loop
