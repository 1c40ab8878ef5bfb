// Tests of how requests and contexts end: cancellation, destruction, broken invariants.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;

// --- cancellation --------------------------------------------------------------------------------

class CancelTest : public testing::LoopTest {
 protected:
  const Pipe pipe_{O_CLOEXEC};  // blocking: a read waits in the kernel
  std::array<char, 1> into_{};
  CountingHandler read_;
};

TEST_F(CancelTest, AReadOfAnEmptyPipeEndsWithECANCELED) {
  add_read(*context_, pipe_.reader.get(), into_, read_);
  EXPECT_FALSE(poll_now());
  context_->cancel(read_);
  EXPECT_EQ(read_.calls(), 0U);
  poll_until([&] { return read_.calls() > 0; });
  EXPECT_EQ(read_.result(), -ECANCELED);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(read_.calls(), 1U);
}

TEST_F(CancelTest, WorksBeforeTheRequestHasReachedTheKernel) {
  add_read(*context_, pipe_.reader.get(), into_, read_);
  context_->cancel(read_);
  poll_until([&] { return read_.calls() > 0; });
  EXPECT_EQ(read_.result(), -ECANCELED);
}

TEST_F(CancelTest, IsTooLateOnceTheRequestHasCompleted) {
  pipe_.put();
  add_read(*context_, pipe_.reader.get(), into_, read_);
  context_->submit();
  context_->cancel(read_);
  EXPECT_TRUE(poll());
  EXPECT_EQ(read_.result(), 1);
  EXPECT_EQ(context_->counters().cqes_by_opcode[IORING_OP_ASYNC_CANCEL], 0U);
}

TEST_F(CancelTest, DoesNothingToAnIdleHandler) {
  context_->cancel(read_);
  EXPECT_FALSE(poll_now());
  EXPECT_EQ(read_.calls(), 0U);
}

TEST_F(CancelTest, LeavesOtherRequestsAlone) {
  CountingHandler other;
  add_read(*context_, pipe_.reader.get(), into_, read_);
  add_read(*context_, pipe_.reader.get(), into_, other);
  EXPECT_FALSE(poll_now());
  context_->cancel(read_);
  poll_until([&] { return read_.calls() > 0; });
  EXPECT_EQ(other.calls(), 0U);
  pipe_.put();
  poll_until([&] { return other.calls() > 0; });
  EXPECT_EQ(other.result(), 1);
}

// --- destruction ---------------------------------------------------------------------------------

TEST_F(CancelTest, DestructionDeliversECANCELEDToWhatIsInFlight) {
  std::array<CountingHandler, 100> reads;
  for (CountingHandler& read : reads) add_read(*context_, pipe_.reader.get(), into_, read);
  EXPECT_FALSE(poll_now());
  add_read(*context_, pipe_.reader.get(), into_, read_);  // one that the kernel does not know yet
  context_.reset();
  for (const CountingHandler& read : reads) {
    EXPECT_EQ(read.calls(), 1U);
    EXPECT_EQ(read.result(), -ECANCELED);
  }
  EXPECT_EQ(read_.calls(), 1U);
  EXPECT_EQ(read_.result(), -ECANCELED);
}

TEST_F(CancelTest, DestructionDeliversWhatHasCompleted) {
  CountingHandler done_inline;
  context_->complete(done_inline, 5);
  add_nop(*context_, read_);
  context_->submit();
  context_.reset();
  EXPECT_EQ(done_inline.result(), 5);
  EXPECT_EQ(done_inline.calls(), 1U);
  EXPECT_EQ(read_.calls(), 1U);
  EXPECT_EQ(read_.result(), 0);
}

// A request that the last completion submits is cancelled like those before it.
TEST_F(CancelTest, DestructionEndsRequestsThatAreSubmittedMeanwhile) {
  AioContext& context = *context_;  // which is empty while it is reset
  read_.set_callback([&](CountingHandler& self) {
    if (self.calls() < 3) add_read(context, pipe_.reader.get(), into_, self);
  });
  add_read(*context_, pipe_.reader.get(), into_, read_);
  EXPECT_FALSE(poll_now());
  const std::int64_t start_ns = monotonic_now_ns();
  context_.reset();
  EXPECT_EQ(read_.calls(), 3U);
  EXPECT_EQ(read_.result(), -ECANCELED);
  EXPECT_LT(monotonic_now_ns() - start_ns, 2'000'000'000);
}

TEST_F(CancelTest, DestructionWaitsForWorkThatIsCompletingAnyway) {
  context_->add_sqe(
      [&](io_uring_sqe& sqe) {
        ::io_uring_prep_fsync(&sqe, pipe_.writer.get(), 0);
        sqe.flags |= IOSQE_ASYNC;
      },
      read_);
  context_.reset();
  EXPECT_EQ(read_.calls(), 1U);
}

TEST(AioContextCreateTest, ManyContextsMayFollowOneAnother) {
  for (int i = 0; i < 50; ++i) {
    const auto context = testing::create_context(testing::small_ring_options());
    CountingHandler nop;
    add_nop(*context, nop);
    EXPECT_TRUE(context->poll(Blocking::kYes));
  }
}

TEST(AioContextCreateTest, ReportsWhatIsMissing) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // First none is left for the ring, then one for the ring and none for the eventfd.
  const UniqueFd lowest_free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int allowed : {0, lowest_free.get() + 2}) {
    const rlimit limit{static_cast<rlim_t>(allowed), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    const auto refused = AioContext::create();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Errno(EMFILE));
  }
}

// --- broken invariants ---------------------------------------------------------------------------

class AioContextDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(AioContextDeathTest, PollOutsideTheHomeThread) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        std::thread([&] { context->poll(Blocking::kNo); }).join();
      },
      "outside its home thread");
}

TEST_F(AioContextDeathTest, AddSqeOutsideTheHomeThread) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        CountingHandler nop;
        std::thread([&] { add_nop(*context, nop); }).join();
      },
      "outside the context's home thread");
}

TEST_F(AioContextDeathTest, CompleteOutsideTheHomeThread) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        CountingHandler handler;
        std::thread([&] { context->complete(handler, 0); }).join();
      },
      "outside the context's home thread");
}

TEST_F(AioContextDeathTest, ForeignDriveOutsideTheHomeThread) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        std::thread([&] { (void)context->foreign_prepare(); }).join();
      },
      "in its home thread only");
}

TEST_F(AioContextDeathTest, DestructionOutsideTheHomeThread) {
  EXPECT_DEATH(
      {
        auto context = testing::create_context();
        std::thread([&] { context.reset(); }).join();
      },
      "destroyed at home");
}

TEST_F(AioContextDeathTest, AHandlerIsSubmittedTwice) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        CountingHandler nop;
        add_nop(*context, nop);
        add_nop(*context, nop);
      },
      "submitted twice");
}

TEST_F(AioContextDeathTest, AHandlerIsDestroyedInFlight) {
  EXPECT_DEATH(
      {
        const auto context = testing::create_context();
        CountingHandler nop;
        add_nop(*context, nop);
      },
      "destroyed while its request is in flight");
}

TEST_F(AioContextDeathTest, AContextIsDestroyedInItsOwnPoll) {
  EXPECT_DEATH(
      {
        auto context = testing::create_context();
        CountingHandler handler([&](CountingHandler&) { context.reset(); });
        context->complete(handler, 0);
        context->poll(Blocking::kYes);
      },
      "outside poll");
}

// The kernel refuses a child the ring of its parent. It must not try for ever.
TEST(UringDeathTest, PollInAForkedChild) {
  const auto context = AioContext::create({.backend = Backend::kUring}).value();
  if ((context->ring().setup_flags() & IORING_SETUP_SINGLE_ISSUER) == 0) {
    GTEST_SKIP() << "this kernel has no IORING_SETUP_SINGLE_ISSUER (6.0)";
  }
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_DEATH(context->poll(Blocking::kYes), "refused");
}

}  // namespace
}  // namespace ouro::loop
