// Tests of contexts that end without what is in flight: OnDestroy::kDrop, and requests that the
// kernel does not cancel.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/timer.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::loop {
namespace {

using testing::add_nop;
using testing::add_read;
using testing::CountingHandler;
using testing::Pipe;
using State = CqeHandler::State;

class DropTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.log = [this](LogLevel level, std::string_view line) {
      EXPECT_EQ(level, LogLevel::kError);
      log_.emplace_back(line);
    };
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const Pipe pipe_{O_CLOEXEC};
  AioOptions options_ = testing::tested_options();
  std::vector<std::string> log_;
};

TEST_F(DropTest, NoHandlerIsCalledAndAllMayBeDestroyed) {
  options_.on_destroy = OnDestroy::kDrop;
  std::array<char, 1> into{};
  const auto refuse = [](CountingHandler&) { FAIL(); };
  CountingHandler read(refuse);
  CountingHandler nop(refuse);
  CountingHandler done_inline(refuse);
  std::vector<std::unique_ptr<CountingHandler>> chain;
  {
    const auto context = testing::create_context(options_);
    context->set_fd_handler(pipe_.writer.get(), {{}, [] { FAIL(); }});
    add_read(*context, pipe_.reader.get(), into, read);
    add_nop(*context, nop);
    context->complete(done_inline, 0);
    std::array<CqeHandler*, 3> links{};
    for (CqeHandler*& link : links) {
      link = chain.emplace_back(std::make_unique<CountingHandler>(refuse)).get();
    }
    context->add_chain(links, [&](std::size_t, io_uring_sqe& sqe) {
      ::io_uring_prep_read(&sqe, pipe_.reader.get(), into.data(), 1, 0);
    });
  }
  // Those that the kernel has let go of are idle.
  for (const CountingHandler* handler : {&read, &nop, &done_inline}) {
    EXPECT_TRUE(handler->state() == State::kDropped || handler->state() == State::kIdle);
  }
  EXPECT_TRUE(log_.empty());
}

TEST_F(DropTest, IsNotSlow) {
  options_.on_destroy = OnDestroy::kDrop;
  std::array<char, 1> into{};
  std::vector<CountingHandler> reads(1000);
  auto context = testing::create_context(options_);
  for (CountingHandler& read : reads) add_read(*context, pipe_.reader.get(), into, read);
  const std::int64_t began_ns = monotonic_now_ns();
  context.reset();
  EXPECT_LT(monotonic_now_ns() - began_ns, 2'000'000'000);
  for (const CountingHandler& read : reads) EXPECT_EQ(read.calls(), 0U);
}

TEST_F(DropTest, ThousandsAreCancelledWhateverTheQueueHolds) {
  options_.ring.sq_entries = 8;
  options_.ring.cq_entries = 16;
  std::array<char, 1> into{};
  std::vector<CountingHandler> reads(5000);
  auto context = testing::create_context(options_);
  for (CountingHandler& read : reads) add_read(*context, pipe_.reader.get(), into, read);
  context.reset();
  for (const CountingHandler& read : reads) {
    EXPECT_EQ(read.calls(), 1U);
    EXPECT_EQ(read.result(), -ECANCELED);
    EXPECT_EQ(read.state(), State::kIdle);
  }
  EXPECT_TRUE(log_.empty());
}

// --- what cannot be cancelled --------------------------------------------------------------------

// A FUSE file system that answers nothing: what looks into it waits until it is gone, and no signal
// but a fatal one ends that. In a mount namespace of the calling thread.
class DeadFuse {
 public:
  // Why there is none; empty if there is one.
  [[nodiscard]] std::string start() {
    if (::unshare(CLONE_NEWNS) != 0) return "there is no mount namespace of its own (needs root)";
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "mount --private";
    channel_ = UniqueFd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!channel_) return "there is no /dev/fuse";
    const std::string options =
        "fd=" + std::to_string(channel_.get()) + ",rootmode=40000,user_id=0,group_id=0";
    if (::mount("dead", path().c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
      return "a FUSE cannot be mounted";
    }
    mounted_ = true;
    return {};
  }
  // Whoever waits for it gets an error.
  void end() {
    channel_.reset();
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
    mounted_ = false;
  }

  DeadFuse() = default;
  DeadFuse(const DeadFuse&) = delete;
  DeadFuse& operator=(const DeadFuse&) = delete;
  ~DeadFuse() { end(); }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  const testing::TempDir home_;
  const std::string path_ = home_.path();
  UniqueFd channel_;
  bool mounted_ = false;
};

std::int64_t thread_cpu_ns() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto as_ns = [](const timeval& t) { return t.tv_sec * 1'000'000'000 + t.tv_usec * 1000; };
  return as_ns(usage.ru_utime) + as_ns(usage.ru_stime);
}

class UncancellableTest : public DropTest {
 protected:
  static constexpr std::size_t kRequests = 3;
  static constexpr std::int64_t kTimeoutNs = 300'000'000;

  // In a thread, because of the namespace.
  void destroy_with_stuck_requests() {
    options_.destroy_timeout_ns = kTimeoutNs;
    std::thread([this] {
      DeadFuse fuse;
      missing_ = fuse.start();
      if (!missing_.empty()) return;
      const std::string file = fuse.path() + "/file";
      auto context = testing::create_context(options_);
      std::array<char, 1> into{};
      for (auto& stat : stuck_) {
        context->add_sqe(
            [&](io_uring_sqe& sqe) {
              ::io_uring_prep_statx(&sqe, AT_FDCWD, file.c_str(), 0, STATX_BASIC_STATS, &result_);
            },
            *stat);
      }
      add_read(*context, pipe_.reader.get(), into, read_);
      std::this_thread::sleep_for(std::chrono::milliseconds(300));  // they are under way
      const std::int64_t began_ns = monotonic_now_ns();
      const std::int64_t cpu_ns = thread_cpu_ns();
      context.reset();
      took_ns_ = monotonic_now_ns() - began_ns;
      took_cpu_ns_ = thread_cpu_ns() - cpu_ns;
      fuse.end();
    }).join();
  }

  // One that no kernel worker has begun with can be cancelled.
  [[nodiscard]] std::ptrdiff_t dropped() const {
    return std::count_if(stuck_.begin(), stuck_.end(),
                         [](const auto& stat) { return stat->state() == State::kDropped; });
  }

  std::string missing_;
  std::array<std::unique_ptr<CountingHandler>, kRequests> stuck_ = {
      std::make_unique<CountingHandler>(), std::make_unique<CountingHandler>(),
      std::make_unique<CountingHandler>()};
  CountingHandler read_;
  struct statx result_ {};
  std::int64_t took_ns_ = 0;
  std::int64_t took_cpu_ns_ = 0;
};

TEST_F(UncancellableTest, AreDroppedAfterABoundedWaitWhichIsLogged) {
  destroy_with_stuck_requests();
  if (!missing_.empty()) GTEST_SKIP() << missing_;
  EXPECT_GE(took_ns_, kTimeoutNs);
  EXPECT_LT(took_ns_, 10 * kTimeoutNs);
  EXPECT_LT(took_cpu_ns_, kTimeoutNs / 3) << "it did not sleep while it waited";
  EXPECT_EQ(read_.calls(), 1U);
  EXPECT_EQ(read_.result(), -ECANCELED);
  EXPECT_GT(dropped(), 0);
  for (const auto& stat : stuck_) {
    EXPECT_EQ(stat->calls(), stat->state() == State::kDropped ? 0U : 1U);
  }
  const std::string line =
      "dropped " + std::to_string(dropped()) + " requests that the kernel does not let go of";
  EXPECT_EQ(log_, std::vector{line});
}

TEST_F(UncancellableTest, AreNotWaitedForWhereAllIsDropped) {
  options_.on_destroy = OnDestroy::kDrop;
  destroy_with_stuck_requests();
  if (!missing_.empty()) GTEST_SKIP() << missing_;
  EXPECT_LT(took_ns_, kTimeoutNs);
  EXPECT_TRUE(log_.empty());
  EXPECT_GT(dropped(), 0);
  for (const auto& stat : stuck_) EXPECT_EQ(stat->calls(), 0U);
}

}  // namespace
}  // namespace ouro::loop
