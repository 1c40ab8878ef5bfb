// Tests of contexts without a ring: by choice, and where the kernel refuses io_uring.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::Pipe;

// Reads one byte, either way.
class ReadOp final : public Op {
 public:
  explicit ReadOp(int fd) : fd_(fd) {}
  [[nodiscard]] int calls() const { return calls_; }
  [[nodiscard]] int done() const { return done_; }
  [[nodiscard]] std::int32_t result() const { return result_; }

 private:
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_READ; }
  void prepare(io_uring_sqe& sqe) override { ::io_uring_prep_read(&sqe, fd_, &byte_, 1, 0); }
  [[nodiscard]] KernelResult call() override {
    ++calls_;
    return from_libc(::read(fd_, &byte_, 1));
  }
  void on_cqe(const Cqe& cqe) override {
    ++done_;
    result_ = cqe.res;
  }

  const int fd_;
  char byte_ = 0;
  int calls_ = 0;
  int done_ = 0;
  std::int32_t result_ = 0;
};

// Everything but SQEs. Returns whether it worked.
bool works(AioContext& context) {
  const Pipe pipe;
  int bytes = 0;
  int fired = 0;
  int ran = 0;
  context.set_fd_handler(pipe.reader.get(), {[&] { bytes += pipe.take() ? 1 : 0; }, {}});
  Timer timer(context, [&] { ++fired; });
  timer.arm_in(1'000'000);
  BottomHalf bh(context, [&] { ++ran; });
  bh.schedule();
  context.post([&] { ++ran; });
  pipe.put();
  const auto done = [&] { return bytes == 1 && fired == 1 && ran == 2; };
  while (!done()) testing::poll_blocking(context);
  context.remove_fd_handler(pipe.reader.get());

  pipe.put();
  ReadOp read(pipe.reader.get());
  context.start(read);
  while (read.done() == 0) testing::poll_blocking(context);
  const bool by_call = read.calls() == (context.supports(IORING_OP_READ) ? 0 : 1);
  ReadOp fails(-1);
  context.start(fails);
  while (fails.done() == 0) testing::poll_blocking(context);
  return read.result() == 1 && by_call && fails.result() == -EBADF;
}

class NoRingTest : public ::testing::TestWithParam<Backend> {
 protected:
  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
};

TEST_P(NoRingTest, EverythingButSqesWorks) {
  AioOptions options;
  options.ring_use = RingUse::kNever;
  options.backend = GetParam();
  const auto context = AioContext::create(options).value();
  EXPECT_FALSE(context->has_io_uring());
  EXPECT_FALSE(context->supports(IORING_OP_READ));
  EXPECT_EQ(context->backend(), GetParam() == Backend::kAuto ? Backend::kEpoll : GetParam());
  EXPECT_TRUE(works(*context));
}

TEST_P(NoRingTest, AnOpCompletesLaterAndDestructionTellsIt) {
  AioOptions options;
  options.ring_use = RingUse::kNever;
  options.backend = GetParam();
  auto context = AioContext::create(options).value();
  const Pipe pipe;
  pipe.put();
  ReadOp read(pipe.reader.get());
  context->start(read);
  EXPECT_EQ(read.calls(), 1);
  EXPECT_EQ(read.done(), 0);
  EXPECT_EQ(read.state(), CqeHandler::State::kReady);
  context.reset();
  EXPECT_EQ(read.done(), 1);
  EXPECT_EQ(read.result(), 1);
}

INSTANTIATE_TEST_SUITE_P(Backends, NoRingTest,
                         ::testing::Values(Backend::kAuto, Backend::kEpoll, Backend::kPoll),
                         [](const auto& tested) {
                           switch (tested.param) {
                             case Backend::kEpoll:
                               return "Epoll";
                             case Backend::kPoll:
                               return "Poll";
                             default:
                               return "Auto";
                           }
                         });

TEST(NoRingCreateTest, TheRingsBackEndNeedsARing) {
  const auto context =
      AioContext::create({.ring_use = RingUse::kNever, .backend = Backend::kUring});
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error(), Errno(ENOSYS));
}

// --- refused by the kernel -----------------------------------------------------------------------

// From here on io_uring_setup fails with `error` in this process.
bool refuse_io_uring(int error) {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K,
               SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & SECCOMP_RET_DATA)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{program.size(), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Runs `body` in a process of its own, where no context was before; it returns what is wrong.
template <typename Body>
void expect_in_child(Body body) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::alarm(60);
        const std::string wrong = body();
        std::fprintf(stderr, "%s", wrong.c_str());
        ::_exit(wrong.empty() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

class NoRingRefusedTest : public ::testing::TestWithParam<int> {};

TEST_P(NoRingRefusedTest, EveryContextDoesWithoutAndOneLineSaysWhy) {
  expect_in_child([]() -> std::string {
    if (!refuse_io_uring(GetParam())) return "no seccomp filter";
    std::vector<std::string> log;
    AioOptions options;
    options.log = [&](LogLevel, std::string_view line) { log.emplace_back(line); };
    for (int i = 0; i < 2; ++i) {
      const auto context = AioContext::create(options);
      if (!context) return "creation failed";
      if ((*context)->has_io_uring()) return "it has a ring";
      if ((*context)->backend() != Backend::kEpoll) return "it does not use epoll";
      if (!works(**context)) return "it does not work";
    }
    if (log.size() != 1) return std::to_string(log.size()) + " lines of log";
    const std::string number = "errno " + std::to_string(GetParam());
    if (log[0].find(number) == std::string::npos) return "the log does not say why: " + log[0];
    options.backend = Backend::kUring;
    const auto refused = AioContext::create(options);
    if (refused || refused.error() != Errno(GetParam())) return "a ring was asked for";
    return {};
  });
}

TEST_P(NoRingRefusedTest, AfterAContextWithARingItIsAnError) {
  expect_in_child([]() -> std::string {
    const auto first = AioContext::create();
    if (!first || !(*first)->has_io_uring()) return "the first has no ring";
    if (!refuse_io_uring(GetParam())) return "no seccomp filter";
    const auto second = AioContext::create();
    if (second || second.error() != Errno(GetParam())) return "not refused";
    const auto without = AioContext::create({.ring_use = RingUse::kNever});
    if (!without || !works(**without)) return "RingUse::kNever does not work";
    if (!works(**first)) return "the first does not work any more";
    return {};
  });
}

INSTANTIATE_TEST_SUITE_P(Errors, NoRingRefusedTest, ::testing::Values(EPERM, ENOSYS, ENOMEM),
                         [](const auto& tested) {
                           return tested.param == EPERM    ? "Eperm"
                                  : tested.param == ENOSYS ? "Enosys"
                                                           : "Enomem";
                         });

}  // namespace
}  // namespace ouro::loop
