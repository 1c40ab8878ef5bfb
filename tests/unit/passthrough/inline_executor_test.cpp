#include "passthrough/inline_executor.hpp"

#include <gtest/gtest.h>

#include "tests/unit/passthrough/executor_doubles.hpp"
#include "tests/unit/passthrough/process_state.hpp"

namespace ouro::passthrough {
namespace {

// Reports who it ran as.
class WhoAmI final : public SyncOp {
 public:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_NOP; }
  void prepare(io_uring_sqe& sqe) override { ::io_uring_prep_nop(&sqe); }
  [[nodiscard]] loop::KernelResult call() override {
    ++calls;
    return fs_uid();
  }
  int calls = 0;
};

class AsyncNop final : public Op {
 public:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_NOP; }
  void prepare(io_uring_sqe& sqe) override { ::io_uring_prep_nop(&sqe); }
  [[nodiscard]] loop::KernelResult call() override { return fs_uid(); }
  std::vector<std::int32_t> results;

 private:
  void on_cqe(const loop::Cqe& cqe) override { results.push_back(cqe.res); }
};

TEST(InlineExecutor, WaitCallsOnceAndCounts) {
  InlineExecutor executor(test_identity());
  WhoAmI op;
  EXPECT_EQ(executor.wait(op), ::geteuid());
  EXPECT_EQ(op.calls, 1);
  EXPECT_EQ(executor.inline_calls(), 1U);
  EXPECT_EQ(executor.call([] { return loop::KernelResult{-5}; }), -5);
  EXPECT_EQ(executor.inline_calls(), 2U);
  EXPECT_EQ(&executor.identity(), &test_identity());
}

TEST(InlineExecutor, RunsUnderTheCredentialsOfTheOp) {
  OURO_NEEDS_ROOT();
  InlineExecutor executor(test_identity());
  const Credentials credentials = Credentials::owner({.uid = 1001, .gid = 1002, .extra_group = {}});
  WhoAmI op;
  op.credentials = &credentials;
  EXPECT_EQ(executor.wait(op), 1001);
  EXPECT_EQ(executor.call(&credentials, [] { return loop::KernelResult{fs_gid()}; }), 1002);
  EXPECT_EQ(fs_uid(), 0U);
  EXPECT_EQ(fs_gid(), 0U);
}

class TryWhoAmI final : public SyncOp {
 public:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_NOP; }
  void prepare(io_uring_sqe& sqe) override { ::io_uring_prep_nop(&sqe); }
  [[nodiscard]] loop::KernelResult call() override {
    ADD_FAILURE() << "that may block";
    return 0;
  }
  [[nodiscard]] std::optional<loop::KernelResult> try_call() override { return fs_uid(); }
};

TEST(TryingExecutor, RefusesWhatCanBlock) {
  TryingExecutor executor(test_identity());
  EXPECT_TRUE(executor.refuses_blocking());
  WhoAmI op;
  EXPECT_EQ(executor.wait(op), -EAGAIN);
  EXPECT_EQ(op.calls, 0);
  EXPECT_TRUE(executor.take_refusal());
  EXPECT_FALSE(executor.take_refusal()) << "it was told";
  bool called = false;
  const auto call = [&called] {
    called = true;
    return loop::KernelResult{0};
  };
  EXPECT_EQ(executor.call(call), -EAGAIN);
  EXPECT_TRUE(executor.take_refusal());
  EXPECT_EQ(executor.call(nullptr, call), -EAGAIN);
  EXPECT_TRUE(executor.take_refusal());
  EXPECT_FALSE(called);
  EXPECT_EQ(executor.inline_calls(), 0U);
}

TEST(TryingExecutor, DoesWhatCannot) {
  TryingExecutor executor(test_identity());
  TryWhoAmI op;
  EXPECT_EQ(executor.wait(op), ::geteuid());
  EXPECT_EQ(executor.call_at_once([] { return loop::KernelResult{-EAGAIN}; }), -EAGAIN);
  EXPECT_EQ(executor.inline_calls(), 2U);
  EXPECT_FALSE(executor.take_refusal()) << "that was the kernel's own";
  EXPECT_FALSE(InlineExecutor(test_identity()).refuses_blocking());
}

TEST(InlineAsyncExecutor, CompletesInALaterDispatchPhase) {
  const auto context = loop::AioContext::create().value();
  InlineAsyncExecutor executor(*context, test_identity());
  AsyncNop op;
  executor.submit(op);
  EXPECT_TRUE(op.results.empty()) << "submit() runs no callback";
  executor.cancel(op);  // too late: it is done
  context->poll(loop::Blocking::kYes);
  EXPECT_EQ(op.results, (std::vector<std::int32_t>{static_cast<std::int32_t>(::geteuid())}));
  EXPECT_EQ(context->counters().inline_completions, 1U);
  EXPECT_EQ(context->counters().cqes_by_opcode[IORING_OP_NOP], 0U);
}

TEST(InlineAsyncExecutor, RunsUnderTheCredentialsOfTheOp) {
  OURO_NEEDS_ROOT();
  const auto context = loop::AioContext::create().value();
  InlineAsyncExecutor executor(*context, test_identity());
  const Credentials credentials = Credentials::owner({.uid = 1001, .gid = 1002, .extra_group = {}});
  AsyncNop op;
  op.credentials = &credentials;
  executor.submit(op);
  EXPECT_EQ(fs_uid(), 0U);
  context->poll(loop::Blocking::kYes);
  EXPECT_EQ(op.results, std::vector<std::int32_t>{1001});
}

}  // namespace
}  // namespace ouro::passthrough
