// RingTransport on a mount of the real kernel; nobody else can be its other side. Clients are
// processes of their own. The thread that owns a ring never unmounts: the kernel would wait for it.
#include "fs/ring_transport.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fs/handshake.hpp"
#include "fs/server.hpp"
#include "passthrough/inline_executor.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/kernel_mount.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/server_rig.hpp"
#include "tests/unit/fs/temporary_tree.hpp"

namespace ouro::fs {
namespace {

constexpr std::uint32_t kMaxWriteBytes = 128 * 1024;

std::vector<std::uint16_t> every_queue() {
  std::vector<std::uint16_t> queues(RingTransport::queue_count());
  for (std::size_t i = 0; i < queues.size(); ++i) queues[i] = static_cast<std::uint16_t>(i);
  return queues;
}

RingTransport::Options transport_options(std::size_t depth) {
  RingTransport::Options options;
  options.queues = every_queue();
  options.depth = depth;
  options.payload_bytes = kMaxWriteBytes;
  options.channel.slots = 16;
  options.channel.payload_bytes = kMaxWriteBytes;
  return options;
}

std::unique_ptr<loop::AioContext> ring_context() {
  loop::AioOptions options;
  RingTransport::prepare(options);
  return loop::AioContext::create(options).value();
}

// What one loop of a mount has.
class Loop {
 public:
  Loop(int channel, TemporaryTree& tree, TestRelay& relay, const Connection& connection,
       const RingTransport::Options& options)
      : transport(RingTransport::create(*context, channel, options, log.sink()).value()),
        ring_(*context, tree.identity),
        inline_(tree.identity),
        server(*context, *transport, *tree.tree, {inline_, ring_, nullptr}, connection, relay,
               log.sink()) {
    relay.add(server);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    server.drain();
    testing::poll_until(*context, [&] { return server.finished(); });
    context->submit();
    // The kernel has the entries for as long as the ring is there.
    context.reset();
  }

  LogCapture log;
  std::unique_ptr<loop::AioContext> context = ring_context();
  std::unique_ptr<RingTransport> transport;

 private:
  passthrough::RingExecutor ring_;
  passthrough::InlineExecutor inline_;

 public:
  Server server;
};

class RingTransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = KernelMount::missing_over_uring();
    if (!missing.empty()) GTEST_SKIP() << missing;
    mount_ = std::make_unique<KernelMount>();
    HandshakeOptions wanted;
    wanted.max_write_bytes = kMaxWriteBytes;
    wanted.extra_flags = wire::kOverIoUring;
    connection_.negotiated = handshake(mount_->channel(), wanted).value();
    ASSERT_NE(connection_.negotiated.flags & wire::kOverIoUring, 0U);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return mount_->path() / name; }

  Loop& add_loop(const RingTransport::Options& options) {
    loops_.push_back(
        std::make_unique<Loop>(mount_->channel(), backing_, relay_, connection_, options));
    return *loops_.back();
  }
  Loop& serve(std::size_t depth = 4) {
    Loop& loop = add_loop(transport_options(depth));
    EXPECT_TRUE(loop.transport->open());
    loop.transport->start(loop.server);
    return loop;
  }
  template <typename Done>
  void turn_until(Done done) {
    while (!done()) {
      for (const auto& loop : loops_) (void)loop->context->poll(loop::Blocking::kNo);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  int serve_until_end_of(Client& client) {
    turn_until([&] { return client.outcome().has_value(); });
    return *client.outcome();
  }
  [[nodiscard]] std::uint64_t requests_by_ring() const {
    std::uint64_t sum = 0;
    for (const auto& loop : loops_) sum += loop->transport->requests();
    return sum;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  TemporaryTree backing_;
  TestRelay relay_;
  Connection connection_;
  std::unique_ptr<KernelMount> mount_;
  std::vector<std::unique_ptr<Loop>> loops_;  // before the mount goes
};

int read_and_write(const std::string& file) {
  char buffer[100]{};
  const int fd = ::open(file.c_str(), O_RDWR);
  if (fd < 0 || ::read(fd, buffer, sizeof buffer) != 7) return 1;
  return ::pwrite(fd, "C", 1, 0) == 1 && ::close(fd) == 0 ? 0 : 2;
}

TEST_F(RingTransportTest, ThereIsAQueueForEachPossibleCpu) {
  EXPECT_EQ(RingTransport::queue_count(), static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_CONF)));
}

TEST_F(RingTransportTest, AFileIsReadAndWritten) {
  backing_.put_file("file", "content");
  Loop& loop = serve();
  Client client([&] { return read_and_write(path("file")); });
  EXPECT_EQ(serve_until_end_of(client), 0);
  EXPECT_EQ(backing_.content("file"), "Content");
  EXPECT_GT(loop.transport->requests(), 3U);
  EXPECT_GT(loop.context->counters().cqes_by_opcode[IORING_OP_URING_CMD], 3U);
}

TEST_F(RingTransportTest, OneEntryForEachQueueIsEnough) {
  backing_.put_file("file", "content");
  serve(1);
  Client client([&] { return read_and_write(path("file")); });
  EXPECT_EQ(serve_until_end_of(client), 0);
}

TEST_F(RingTransportTest, ARequestThatComesBeforeTheStartIsKept) {
  backing_.put_file("file", "content");
  Loop& loop = add_loop(transport_options(4));
  ASSERT_TRUE(loop.transport->open());
  Client client([&] { return read_and_write(path("file")); });
  turn_until([&] { return loop.context->counters().cqes_by_opcode[IORING_OP_URING_CMD] > 0; });
  EXPECT_EQ(loop.transport->requests(), 0U);
  EXPECT_FALSE(client.outcome());
  loop.transport->start(loop.server);
  EXPECT_EQ(serve_until_end_of(client), 0);
}

TEST_F(RingTransportTest, WhatTheKernelRefusesHalfWayComesByTheChannel) {
  if (RingTransport::queue_count() < 2) GTEST_SKIP() << "there is but one queue";
  backing_.put_file("file", "content");
  RingTransport::Options first = transport_options(4);
  RingTransport::Options second = first;
  first.queues = {0};
  second.queues.erase(second.queues.begin());
  second.payload_bytes = 4096;  // too little for max_write
  EXPECT_TRUE(add_loop(first).transport->open());
  const auto opened = add_loop(second).transport->open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().value(), EINVAL);
  for (const auto& loop : loops_) loop->transport->start(loop->server);
  Client client([&] { return read_and_write(path("file")); });
  EXPECT_EQ(serve_until_end_of(client), 0);
  EXPECT_EQ(backing_.content("file"), "Content");
  EXPECT_EQ(requests_by_ring(), 0U);
}

TEST_F(RingTransportTest, UnmountIsTheRegularEnd) {
  Loop& loop = serve();
  std::thread unmounter([this] { mount_->unmount(); });
  turn_until([&] { return loop.server.disconnected().has_value(); });
  unmounter.join();
  EXPECT_EQ(loop.server.disconnected(), Disconnect::kUnmounted);
}

TEST_F(RingTransportTest, AnAbortIsToldFromAnUnmount) {
  Loop& loop = serve();
  std::thread aborter([this] { mount_->abort(); });
  turn_until([&] { return loop.server.disconnected().has_value(); });
  aborter.join();
  EXPECT_EQ(loop.server.disconnected(), Disconnect::kAborted);
}

// What the process of a ring could not outlive: a request that only its thread could have taken.
TEST_F(RingTransportTest, ARequestOnItsWayEndsWithTheThreadOfTheRing) {
  std::unique_ptr<Client> client;
  const auto wait_for_request = [&] {
    Loop& loop = serve();
    client = std::make_unique<Client>([&] {
      struct ::stat status {};
      return ::stat(path("absent").c_str(), &status) == 0 ? 0 : errno;
    });
    // It is on its way, and nobody takes it.
    ::usleep(100'000);
    EXPECT_EQ(loop.transport->requests(), 0U);
    EXPECT_FALSE(client->outcome());
  };
  std::thread(wait_for_request).join();
  // The ring is still there. Whoever waits for the request is let go by whoever ends the
  // connection.
  mount_->abort();
  for (int i = 0; i < 10'000 && !client->outcome(); ++i) ::usleep(1'000);
  EXPECT_TRUE(client->outcome()) << "for good";
  // They cannot end in another thread than theirs.
  static auto& kept = *new std::vector<std::unique_ptr<Loop>>;
  kept = std::exchange(loops_, {});
}

}  // namespace
}  // namespace ouro::fs
