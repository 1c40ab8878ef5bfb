#include "passthrough/ring_executor.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <optional>

#include <gtest/gtest.h>

#include "loop/bottom_half.hpp"
#include "passthrough/transfer_op.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

// An operation that the test composes; the call() face tells that it was used.
class TestOp final : public SyncOp {
 public:
  TestOp(std::uint8_t opcode, std::function<void(io_uring_sqe*)> prepare)
      : opcode_(opcode), prepare_(std::move(prepare)) {}
  [[nodiscard]] std::uint8_t opcode() const override { return opcode_; }
  void prepare(io_uring_sqe& sqe) override { prepare_(&sqe); }
  [[nodiscard]] loop::KernelResult call() override {
    ++calls;
    called_as = fs_uid();
    return 4711;
  }
  int calls = 0;
  uid_t called_as = 0;

 private:
  const std::uint8_t opcode_;
  const std::function<void(io_uring_sqe*)> prepare_;
};

class RingExecutorTest : public ::testing::Test {
 protected:
  RingExecutorTest() { ::umask(0); }
  [[nodiscard]] std::uint64_t cqes(unsigned opcode) const {
    return context_->counters().cqes_by_opcode[opcode];
  }
  // Waits for data that never comes.
  [[nodiscard]] TestOp endless_read() {
    return TestOp(IORING_OP_READ, [this](io_uring_sqe* sqe) {
      ::io_uring_prep_read(sqe, reader_.get(), &byte_, 1, 0);
    });
  }
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    reader_.reset(ends[0]);
    writer_.reset(ends[1]);
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  const std::unique_ptr<loop::AioContext> context_ = loop::AioContext::create().value();
  RingExecutor executor_{*context_, test_identity()};
  loop::UniqueFd reader_;
  loop::UniqueFd writer_;
  char byte_ = 0;
};

TEST_F(RingExecutorTest, WaitGoesThroughTheRing) {
  TestOp op(IORING_OP_NOP, [](io_uring_sqe* sqe) { ::io_uring_prep_nop(sqe); });
  EXPECT_EQ(executor_.wait(op), 0);
  EXPECT_TRUE(op.done());
  EXPECT_EQ(op.calls, 0);
  EXPECT_EQ(cqes(IORING_OP_NOP), 1U);
  EXPECT_EQ(executor_.nested_waits(), 1U);
  EXPECT_EQ(executor_.inline_calls(), 0U);
}

TEST_F(RingExecutorTest, ErrorsOfTheKernelAreTheResult) {
  TestOp op(IORING_OP_FSYNC, [](io_uring_sqe* sqe) { ::io_uring_prep_fsync(sqe, -1, 0); });
  EXPECT_EQ(executor_.wait(op), -EBADF);
  EXPECT_EQ(op.calls, 0);
}

TEST_F(RingExecutorTest, AnOpcodeThatTheKernelHasNotIsCalled) {
  ASSERT_FALSE(context_->supports(250));
  TestOp op(250, [](io_uring_sqe*) { ADD_FAILURE() << "prepared for an unknown opcode"; });
  EXPECT_EQ(executor_.wait(op), 4711);
  EXPECT_EQ(op.calls, 1);
  EXPECT_EQ(executor_.inline_calls(), 1U);
  EXPECT_EQ(executor_.nested_waits(), 0U);
}

TEST_F(RingExecutorTest, OtherWorkIsServedMeanwhile) {
  bool ran = false;
  loop::BottomHalf feed(*context_, [&] {
    ran = true;
    EXPECT_EQ(context_->depth(), 1U);
    EXPECT_EQ(::write(writer_.get(), "x", 1), 1);
  });
  feed.schedule();
  TestOp op = endless_read();
  EXPECT_EQ(executor_.wait(op), 1);
  EXPECT_TRUE(ran);
  EXPECT_EQ(byte_, 'x');
}

TEST_F(RingExecutorTest, WaitsNest) {
  // A second wait inside a callback of the first; the outer one ends while the inner one waits.
  std::optional<loop::KernelResult> inner;
  loop::BottomHalf nested(*context_, [&] {
    TestOp op(IORING_OP_NOP, [](io_uring_sqe* sqe) { ::io_uring_prep_nop(sqe); });
    EXPECT_EQ(::write(writer_.get(), "x", 1), 1);
    inner = executor_.wait(op);
  });
  nested.schedule();
  TestOp outer = endless_read();
  EXPECT_EQ(executor_.wait(outer), 1);
  EXPECT_EQ(inner, 0);
  EXPECT_EQ(executor_.nested_waits(), 2U);
}

TEST_F(RingExecutorTest, ACancellationThatNobodyAskedForIsDoneByTheCall) {
  OURO_NEEDS_ROOT();
  const Credentials credentials = Credentials::owner({.uid = 1001, .gid = 1002, .extra_group = {}});
  TestOp op = endless_read();
  op.credentials = &credentials;
  loop::BottomHalf cancel(*context_, [&] { context_->cancel(op); });
  cancel.schedule();
  EXPECT_EQ(executor_.wait(op), 4711);
  EXPECT_EQ(op.calls, 1);
  EXPECT_EQ(op.called_as, 1001U);
  EXPECT_EQ(fs_uid(), 0U);
}

TEST_F(RingExecutorTest, AnAbandonedWaitEndsWithEintr) {
  executor_.abandon_wait();  // nobody waits: nothing happens
  TestOp op = endless_read();
  loop::BottomHalf abandon(*context_, [&] { executor_.abandon_wait(); });
  abandon.schedule();
  EXPECT_EQ(executor_.wait(op), -EINTR);
  EXPECT_EQ(op.calls, 0);
  // And the next one is not abandoned.
  TestOp next = endless_read();
  loop::BottomHalf cancel(*context_, [&] { context_->cancel(next); });
  cancel.schedule();
  EXPECT_EQ(executor_.wait(next), 4711);
}

TEST_F(RingExecutorTest, TheIdentityGoesByPersonality) {
  OURO_NEEDS_ROOT();
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0700), 0);
  const auto root = open_path_fd(dir_.path());
  for (const uid_t uid : {1001U, 1002U, 0U, 1001U}) {
    const Credentials credentials =
        Credentials::owner({.uid = uid, .gid = uid + 100, .extra_group = {}});
    TestOp op(IORING_OP_MKDIRAT, [&](io_uring_sqe* sqe) {
      EXPECT_EQ(fs_uid(), 0U) << "the thread itself stays what it is";
      ::io_uring_prep_mkdirat(sqe, root.get(), "dir", 0755);
    });
    op.credentials = &credentials;
    ASSERT_EQ(executor_.wait(op), 0);
    EXPECT_EQ(stat_of(dir_ / "dir").st_uid, uid);
    EXPECT_EQ(stat_of(dir_ / "dir").st_gid, uid + 100);
    std::filesystem::remove(dir_ / "dir");
  }
}

TEST_F(RingExecutorTest, WithoutFsetidAWriteClearsSetIdBits) {
  OURO_NEEDS_ROOT();
  struct Result final : TransferOp::Listener {
    void transfer_done(loop::KernelResult value) override { result = value; }
    std::optional<loop::KernelResult> result;
  };
  const Credentials credentials = Credentials::without_fsetid();
  const std::string data = "data";
  for (const bool kills : {false, true}) {
    write_file(dir_ / "file", "");
    loop::UniqueFd fd(::open((dir_ / "file").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::fchmod(fd.get(), 06777), 0);
    const auto file = std::make_shared<FileHandle>(
        std::make_shared<const Inode>(Inode{.key = {}, .type = S_IFREG, .path_fd = {}}),
        std::move(fd), loop::UniqueFd());
    Result result;
    TransferOp op(result);
    op.start_write(executor_, file, TransferOp::Access::kBuffered, bytes_of(data), 0, 0,
                   kills ? &credentials : nullptr);
    EXPECT_FALSE(result.result) << "submit() runs no callback";
    testing::poll_until(*context_, [&] { return result.result.has_value(); });
    EXPECT_EQ(result.result, 4);
    EXPECT_EQ(mode_of(dir_ / "file"), kills ? 0777U : 06777U);
  }
  EXPECT_EQ(cqes(IORING_OP_WRITE), 2U);
}

TEST_F(RingExecutorTest, TransfersGoThroughTheRing) {
  struct Result final : TransferOp::Listener {
    void transfer_done(loop::KernelResult value) override { results.push_back(value); }
    std::vector<loop::KernelResult> results;
  } done;
  write_file(dir_ / "file", "");
  const auto file = std::make_shared<FileHandle>(
      std::make_shared<const Inode>(Inode{.key = {}, .type = S_IFREG, .path_fd = {}}),
      loop::UniqueFd(::open((dir_ / "file").c_str(), O_RDWR | O_CLOEXEC)), loop::UniqueFd());
  TransferOp op(done);
  std::string data(1'000'000, 'd');
  std::string out(1'000'010, '.');
  const auto finish = [&](std::size_t count) {
    testing::poll_until(*context_, [&] { return done.results.size() == count; });
  };
  op.start_write(executor_, file, TransferOp::Access::kBuffered, bytes_of(data), 7, 0, nullptr);
  finish(1);
  op.start_read(executor_, file, TransferOp::Access::kBuffered, bytes_of(out), 0);
  finish(2);
  op.start_sync(executor_, file, TransferOp::Sync::kDataOnly);
  finish(3);
  EXPECT_EQ(done.results, (std::vector<loop::KernelResult>{1'000'000, 1'000'007, 0}));
  EXPECT_EQ(out, std::string(7, '\0') + data + "...");
  EXPECT_GE(cqes(IORING_OP_WRITE), 1U);
  EXPECT_GE(cqes(IORING_OP_READ), 1U);
  EXPECT_EQ(cqes(IORING_OP_FSYNC), 1U);
  EXPECT_EQ(context_->counters().inline_completions, 0U);
}

TEST_F(RingExecutorTest, AnAbandonedTransferEndsWithEintr) {
  struct Result final : TransferOp::Listener {
    void transfer_done(loop::KernelResult value) override { result = value; }
    std::optional<loop::KernelResult> result;
  } done;
  const auto pipe = std::make_shared<FileHandle>(
      std::make_shared<const Inode>(Inode{.key = {}, .type = S_IFREG, .path_fd = {}}),
      std::move(reader_), loop::UniqueFd());
  TransferOp op(done);
  std::string out(10, '.');
  op.start_read(executor_, pipe, TransferOp::Access::kBuffered, bytes_of(out), 0);
  context_->poll(loop::Blocking::kNo);
  EXPECT_FALSE(done.result);
  op.abandon();
  testing::poll_until(*context_, [&] { return done.result.has_value(); });
  EXPECT_EQ(done.result, -EINTR);
}

TEST_F(RingExecutorTest, AnOpcodeThatTheKernelHasNotIsCompletedLater) {
  struct Async final : Op {
    [[nodiscard]] std::uint8_t opcode() const override { return 250; }
    void prepare(io_uring_sqe&) override { ADD_FAILURE(); }
    [[nodiscard]] loop::KernelResult call() override { return 12; }
    void on_cqe(const loop::Cqe& cqe) override { result = cqe.res; }
    std::optional<std::int32_t> result;
  } op;
  executor_.submit(op);
  EXPECT_FALSE(op.result);
  context_->poll(loop::Blocking::kYes);
  EXPECT_EQ(op.result, 12);
  EXPECT_EQ(context_->counters().inline_completions, 1U);
}

}  // namespace
}  // namespace ouro::passthrough
