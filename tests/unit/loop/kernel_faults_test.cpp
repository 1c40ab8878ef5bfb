// Tests of what a context does when a kernel call of its ring fails: every one of a scenario, in
// turn, with every error that is possible there.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;

// Lets `count` calls fail from the `first` one on (counted from 1; 0: none).
class NthCallFails final : public KernelFaults {
 public:
  NthCallFails(unsigned first, unsigned count, int error)
      : first_(first), count_(count), error_(error) {}

  [[nodiscard]] unsigned calls() const { return calls_; }

 private:
  [[nodiscard]] int next() override {
    ++calls_;
    return first_ > 0 && calls_ >= first_ && calls_ < first_ + count_ ? error_ : 0;
  }

  const unsigned first_;
  const unsigned count_;
  const int error_;
  unsigned calls_ = 0;
};

class KernelFaultsTest : public ::testing::Test {
 protected:
  // Everything that a context does, with an end. False if there was no context.
  bool live(NthCallFails& faults) {
    AioOptions options = testing::small_ring_options();
    options.ring.faults = &faults;
    options.ring.allowed_opcodes = allowed_opcodes_;
    auto created = AioContext::create(options);
    creation_calls_ = faults.calls();
    if (created)
      setup_calls_ = creation_calls_ - static_cast<unsigned>((*created)->ring().enter_calls());
    if (!created) {
      error_ = created.error().value();
      return false;
    }
    std::unique_ptr<AioContext> context = *std::move(created);
    EXPECT_TRUE(context->has_io_uring());
    submit_and_run(*context);
    watch(*context);
    chain_and_cancel(*context);
    end(std::move(context));
    return true;
  }

  void for_each_call_of_a_life(int error, unsigned count = 1) {
    NthCallFails none(0, 0, 0);
    ASSERT_TRUE(live(none));
    const unsigned total = none.calls();
    const unsigned setup = creation_calls_;
    for (unsigned n = 1; n <= total; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + " of " + std::to_string(total));
      NthCallFails faults(n, count, error);
      const bool lived = live(faults);
      EXPECT_TRUE(lived || n <= setup);
      EXPECT_TRUE(lived || error_ == error || error_ == ENOSYS) << error_;
      if (HasFailure()) return;
    }
  }

  std::vector<std::uint8_t> allowed_opcodes_;
  unsigned creation_calls_ = 0;
  unsigned setup_calls_ = 0;  // of them not by io_uring_enter

 private:
  // More than fits in the queue, and completions from within completions.
  static void submit_and_run(AioContext& context) {
    std::vector<CountingHandler> nops(30);
    std::size_t done = 0;
    for (CountingHandler& nop : nops) {
      nop.set_callback([&](CountingHandler& self) {
        self.calls() == 1 ? add_nop(context, self) : static_cast<void>(++done);
      });
      add_nop(context, nop);
    }
    testing::poll_until(context, [&] { return done == nops.size(); });
    for (const CountingHandler& nop : nops) {
      EXPECT_EQ(nop.calls(), 2U);
      EXPECT_EQ(nop.result(), 0);
    }
  }

  static void watch(AioContext& context) {
    const Pipe pipe;
    int bytes = 0;
    int fired = 0;
    int ran = 0;
    context.set_fd_handler(pipe.reader.get(), {[&] { bytes += pipe.take() ? 1 : 0; }, {}});
    Timer timer(context, [&] {
      ++fired;
      pipe.put(2);
    });
    timer.arm_in(100'000);
    BottomHalf bh(context, [&] { ++ran; });
    bh.schedule();
    testing::poll_until(context, [&] { return bytes == 2 && fired == 1 && ran == 1; });
    context.remove_fd_handler(pipe.reader.get());
    pipe.put();
    (void)context.poll(Blocking::kNo);
    EXPECT_EQ(bytes, 2);
  }

  static void chain_and_cancel(AioContext& context) {
    const Pipe pipe(O_CLOEXEC);
    std::array<char, 1> into{};
    CountingHandler silent;
    CountingHandler second;
    CountingHandler third;
    const std::array<CqeHandler*, 3> chain = {&silent, &second, &third};
    context.add_chain(chain, [&](std::size_t i, io_uring_sqe& sqe) {
      i == 1 ? ::io_uring_prep_read(&sqe, pipe.reader.get(), into.data(), 1, 0)
             : ::io_uring_prep_nop(&sqe);
      if (i == 0) sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    });
    CountingHandler multishot;
    context.add_sqe(
        [&](io_uring_sqe& sqe) { ::io_uring_prep_poll_multishot(&sqe, pipe.reader.get(), POLLIN); },
        multishot);
    context.submit();
    context.cancel(third);
    context.cancel(multishot);
    while (third.calls() == 0 || multishot.calls() == 0) {
      if (!context.poll(Blocking::kNo)) context.cancel(third);  // it had no resources
    }
    EXPECT_EQ(silent.calls(), 0U);
    EXPECT_EQ(second.calls(), 1U);
    EXPECT_EQ(second.result(), -ECANCELED);
    EXPECT_EQ(third.result(), -ECANCELED);
    EXPECT_EQ(multishot.result(), -ECANCELED);
  }

  static void end(std::unique_ptr<AioContext> context) {
    const Pipe pipe(O_CLOEXEC);
    std::array<char, 1> into{};
    std::vector<CountingHandler> reads(20);
    for (CountingHandler& read : reads) add_read(*context, pipe.reader.get(), into, read);
    context->set_fd_handler(pipe.reader.get(), {[] { FAIL(); }, {}});
    context.reset();
    for (const CountingHandler& read : reads) {
      EXPECT_EQ(read.calls(), 1U);
      EXPECT_EQ(read.result(), -ECANCELED);
    }
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  int error_ = 0;
};

TEST_F(KernelFaultsTest, AnInterruptedCallLosesNothing) {
  for_each_call_of_a_life(EINTR);
}

TEST_F(KernelFaultsTest, ACallWithoutResourcesLosesNothing) {
  for (const int error : {EAGAIN, EBUSY, ENOMEM}) for_each_call_of_a_life(error);
}

TEST_F(KernelFaultsTest, ManyCallsInARowLoseNothing) {
  for_each_call_of_a_life(EBUSY, 20);
}

TEST_F(KernelFaultsTest, NeitherDoesAnyOfThemOnARestrictedRing) {
  allowed_opcodes_ = {IORING_OP_NOP, IORING_OP_READ, IORING_OP_POLL_ADD};
  for_each_call_of_a_life(ENOMEM);
}

TEST_F(KernelFaultsTest, ASetUpThatFailsIsAnErrorOrDoneWithout) {
  for (const bool restricted : {false, true}) {
    if (restricted) allowed_opcodes_ = {IORING_OP_NOP, IORING_OP_READ, IORING_OP_POLL_ADD};
    NthCallFails none(0, 0, 0);
    ASSERT_TRUE(live(none));
    const unsigned setup = setup_calls_;
    for (const int error : {ENOMEM, EPERM, EINVAL, EMFILE, ENOSYS}) {
      for (unsigned n = 1; n <= setup; ++n) {
        NthCallFails faults(n, 1, error);
        (void)live(faults);
      }
    }
  }
}

}  // namespace
}  // namespace ouro::loop
