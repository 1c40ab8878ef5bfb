#include "fs/session.hpp"

#include <fcntl.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/fake_kernel.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/requests.hpp"
#include "tests/unit/fs/signalled_child.hpp"
#include "tests/unit/fs/temporary_tree.hpp"

namespace ouro::fs {
namespace {

Message init() {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 45;
  in.max_readahead = 131072;
  in.flags = 0xffffffff;
  return Message(FUSE_INIT, 0).with(in);
}

// A session of several loops, whose channels share one queue as clones do. Its own thread creates,
// runs and destroys it, as the main thread of the program does.
class SessionTest : public ::testing::Test {
 protected:
  static constexpr unsigned kLoops = 3;

  void TearDown() override {
    if (thread_.joinable()) end();
  }

  // What is done with a session in its home thread before it runs; what it gives back is kept
  // until it has run.
  using WithSession = std::function<std::shared_ptr<void>(Session&)>;

  void start(
      const SessionOptions& options = {},
      const WithSession& with_session = [](Session&) { return nullptr; }) {
    const std::uint64_t unique = kernel_.send(init());
    thread_ = std::thread([this, options, with_session] { serve(options, with_session); });
    EXPECT_EQ(kernel_.wait(unique).error(), 0);
  }
  void serve(const SessionOptions& options, const WithSession& with_session) {
    std::vector<int> channels{kernel_.channel()};
    for (const loop::UniqueFd& clone : clones_) channels.push_back(clone.get());
    auto session =
        Session::create(channels, *backing_.tree, backing_.identity, options, log_.sink()).value();
    loop::BottomHalf drain(session->home(), [&] { session->drain(); });
    loop::BottomHalf statistics(session->home(), [&] { session->post_statistics(); });
    const std::shared_ptr<void> kept = with_session(*session);
    serving_.set_value({&drain, &statistics});
    disconnected_ = session->run();
    // Whatever still asks is not harmed.
    session->drain();
    session->post_statistics();
    ended_.set_value();
    may_destroy_.get_future().wait();
  }
  struct Controls {
    loop::BottomHalf* drain;
    loop::BottomHalf* statistics;
  };
  [[nodiscard]] const Controls& controls() {
    if (!controls_) controls_ = serving_.get_future().get();
    return *controls_;
  }
  // Waits until run() has returned, after a drain unless the kernel has hung up.
  void end() {
    controls().drain->schedule();
    wait_for_end();
  }
  void wait_for_end() {
    (void)controls();
    ended_.get_future().wait();
    may_destroy_.set_value();
    thread_.join();
  }
  [[nodiscard]] Answer call(Message message) { return kernel_.call(std::move(message)); }
  [[nodiscard]] std::uint64_t open(const std::string& name) {
    const auto entry = call(requests::lookup(name)).as<fuse_entry_out>();
    return call(requests::open(entry.nodeid, O_RDWR)).as<fuse_open_out>().fh;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  TemporaryTree backing_;
  FakeKernel kernel_;
  std::vector<loop::UniqueFd> clones_ = [this] {
    std::vector<loop::UniqueFd> clones;
    for (unsigned i = 1; i < kLoops; ++i) clones.push_back(kernel_.clone_channel());
    return clones;
  }();
  LogCapture log_;
  std::promise<Controls> serving_;
  std::optional<Controls> controls_;
  std::promise<void> ended_;
  std::promise<void> may_destroy_;
  std::optional<Disconnect> disconnected_;
  std::thread thread_;
};

TEST_F(SessionTest, ServesAndDrains) {
  backing_.put_file("file", "content");
  start();
  EXPECT_EQ(call(requests::read(open("file"), 0, 100)).text(), "content");
  end();
  EXPECT_FALSE(disconnected_);
  EXPECT_EQ(log_.containing("statistics:").size(), kLoops) << "one line of each loop";
}

TEST_F(SessionTest, TheHandshakeIsNegotiated) {
  SessionOptions options;
  options.max_write_bytes = 65536;
  options.max_readahead_bytes = 8192;
  options.cache.init_flags = FUSE_WRITEBACK_CACHE;
  Negotiated negotiated;
  start(options, [&](Session& session) {
    negotiated = session.connection().negotiated;
    return nullptr;
  });
  (void)controls();
  EXPECT_EQ(negotiated.max_write_bytes, 65536U);
  EXPECT_EQ(negotiated.max_readahead_bytes, 8192U);
  EXPECT_NE(negotiated.flags & FUSE_WRITEBACK_CACHE, 0U);
  EXPECT_EQ(negotiated.kernel_minor, 45U);
}

// The kernel of these tests offers no flags beyond the first 32.
TEST_F(SessionTest, KernelBackingThatIsNotOfferedIsRefusedAndSaidToBe) {
  backing_.put_file("file", "content");
  SessionOptions options;
  options.kernel_backing.use = KernelBackingOptions::Use::kWanted;
  std::string modes;
  start(options, [&](Session& session) {
    modes = session.modes();
    EXPECT_EQ(session.connection().kernel_backing, nullptr);
    return nullptr;
  });
  (void)controls();
  EXPECT_EQ(modes.find("backing=kernel"), std::string::npos) << modes;
  EXPECT_TRUE(log_.has(backing_.identity.switches()
                           ? "backing=kernel is refused: this kernel has no FUSE passthrough"
                           : "backing=kernel is refused: it takes root"));
  EXPECT_EQ(call(requests::read(open("file"), 0, 100)).text(), "content");
}

TEST_F(SessionTest, EveryLoopTakesItsPart) {
  backing_.put_file("file", std::string(4096, 'x'));
  start();
  const std::uint64_t handle = open("file");
  std::vector<bool> served(kLoops);
  const auto all_served = [&] { return std::count(served.begin(), served.end(), true) == kLoops; };
  while (!all_served()) {
    std::vector<std::uint64_t> reads;
    for (int i = 0; i < 500; ++i) reads.push_back(kernel_.send(requests::read(handle, 0, 4096)));
    for (const std::uint64_t unique : reads) {
      ASSERT_EQ(kernel_.wait(unique).payload.size(), 4096U);
    }
    const std::size_t lines = log_.containing("statistics:").size();
    controls().statistics->schedule();
    while (log_.containing("statistics:").size() < lines + kLoops) std::this_thread::yield();
    for (unsigned number = 0; number < kLoops; ++number) {
      for (const std::string& line : log_.containing("loop=" + std::to_string(number))) {
        if (line.find("request.READ=") != std::string::npos) served[number] = true;
      }
    }
  }
}

class SessionFlood : public SessionTest, public ::testing::WithParamInterface<Metadata> {};

TEST_P(SessionFlood, EveryRequestIsAnsweredOnce) {
  for (int i = 0; i < 20; ++i) backing_.put_file("file" + std::to_string(i), "content");
  SessionOptions options;
  options.metadata = GetParam();
  start(options);
  std::vector<std::uint64_t> sent;
  for (int i = 0; i < 2000; ++i) {
    sent.push_back(kernel_.send(requests::lookup("file" + std::to_string(i % 20))));
  }
  std::vector<fuse_forget_one> granted;
  for (const std::uint64_t unique : sent) {
    granted.push_back({kernel_.wait(unique).as<fuse_entry_out>().nodeid, 1});
  }
  kernel_.collect();
  EXPECT_TRUE(kernel_.waiting().empty());
  EXPECT_EQ(backing_.tree->inode_count(), 21U);
  kernel_.send(requests::batch_forget(2000, granted));
  while (backing_.tree->inode_count() != 1) std::this_thread::yield();
}

INSTANTIATE_TEST_SUITE_P(Modes, SessionFlood,
                         ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& mode) {
                           return mode.param == Metadata::kInline ? "Inline" : "Nested";
                         });

TEST_F(SessionTest, AnInterruptIsFoundOnWhicheverLoop) {
  // The lookup waits for the ring in one of the loops; that the interrupt comes to another one is
  // likely, and that it is found either way is what is asserted: no reply is lost, none is doubled.
  const SignalledChild killed(SIGKILL);
  backing_.put_file("file", "content");
  SessionOptions options;
  options.metadata = Metadata::kNested;
  start(options);
  for (int i = 0; i < 500; ++i) {
    const std::uint64_t lookup = kernel_.send(requests::lookup("file").from(0, 0, killed.pid()));
    kernel_.send(requests::interrupt(lookup));
    const Answer answer = kernel_.wait(lookup);
    ASSERT_TRUE(answer.error() == 0 || answer.error() == EINTR) << answer.error();
    if (answer.error() == 0) {
      kernel_.send(requests::forget(answer.as<fuse_entry_out>().nodeid));
    }
    // Asked for again, if the interrupt was the first.
    const auto again = kernel_.take(lookup | wire::kInterruptBit);
    ASSERT_EQ(again ? again->error() : EAGAIN, EAGAIN);
  }
  while (backing_.tree->inode_count() != 1) std::this_thread::yield();
  end();
}

TEST_F(SessionTest, DrainAnswersWhatIsInProgress) {
  backing_.put_file("file", std::string(4096, 'x'));
  start();
  const std::uint64_t handle = open("file");
  std::vector<std::uint64_t> reads;
  for (int i = 0; i < 1000; ++i) reads.push_back(kernel_.send(requests::read(handle, 0, 4096)));
  end();
  kernel_.collect();
  // What was taken is answered, the rest is still in the kernel's queue, and nothing in between.
  const std::size_t answered = kernel_.waiting().size();
  for (const Answer& answer : kernel_.waiting()) EXPECT_EQ(answer.payload.size(), 4096U);
  std::vector<std::byte> buffer(1000);
  std::size_t left = 0;
  while (::read(kernel_.channel(), buffer.data(), buffer.size()) > 0) ++left;
  EXPECT_EQ(answered + left, 1000U);
}

TEST_F(SessionTest, TheKernelHangsUp) {
  start();
  EXPECT_EQ(call(requests::getattr()).error(), 0);
  kernel_.hang_up();
  wait_for_end();
  EXPECT_EQ(disconnected_, Disconnect::kFailed);
}

TEST_F(SessionTest, TheHomeLoopServesOtherFdsToTheEnd) {
  // Statistics are asked for again and again while the loops end one after another.
  std::uint64_t asked = 0;
  start({}, [&](Session& session) {
    auto timer = std::make_shared<std::unique_ptr<loop::Timer>>();
    *timer = std::make_unique<loop::Timer>(session.home(), [&, again = timer.get()] {
      session.post_statistics();
      session.drain();
      ++asked;
      (*again)->arm_in(10'000);
    });
    (*timer)->arm_in(0);
    return timer;
  });
  wait_for_end();
  EXPECT_GT(asked, 0U);
  EXPECT_FALSE(disconnected_);
}

TEST_F(SessionTest, ASessionThatNeverRuns) {
  const std::uint64_t unique = kernel_.send(init());
  const std::vector<int> channels{kernel_.channel(), clones_[0].get(), clones_[1].get()};
  {
    const auto session =
        Session::create(channels, *backing_.tree, backing_.identity, {}, log_.sink());
    ASSERT_TRUE(session);
    EXPECT_EQ(kernel_.wait(unique).error(), 0);
  }
  EXPECT_FALSE(log_.has("statistics:"));
}

TEST_F(SessionTest, AHandshakeThatFails) {
  kernel_.send(requests::lookup("x"));
  const auto session =
      Session::create({kernel_.channel()}, *backing_.tree, backing_.identity, {}, log_.sink());
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().value(), EPROTO);
}

}  // namespace
}  // namespace ouro::fs
