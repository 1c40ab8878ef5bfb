#include "fs/serving_loop.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <numeric>
#include <string>
#include <string_view>

#include "tests/support/counting_handler.hpp"
#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

class ServingLoopTest : public ServedTree {
 protected:
  [[nodiscard]] std::uint64_t completed(unsigned opcode) const {
    return serving_->loop_counters().cqes_by_opcode[opcode];
  }
  [[nodiscard]] std::uint64_t requests_served() const {
    const auto& by_opcode = serving_->server_counters().requests_by_opcode;
    return std::accumulate(by_opcode.begin(), by_opcode.end(), std::uint64_t{0});
  }
  [[nodiscard]] bool on_ring() const { return GetParam().backing == Backing::kRing; }
  [[nodiscard]] bool nested() const { return GetParam().metadata == Metadata::kNested; }
  [[nodiscard]] std::string metadata_word() const {
    if (GetParam().metadata == Metadata::kAuto) return "auto";
    return nested() ? "nested" : "inline";
  }
};

TEST_P(ServingLoopTest, DataGoesTheWayOfItsMode) {
  backing_.put_file("file", std::string(4096, 'x'));
  const std::uint64_t handle = open("file", O_RDWR);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(error_of(requests::read(handle, 0, 4096)), 0);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(error_of(requests::write(handle, 0, "data")), 0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(error_of(requests::fsync(handle)), 0);
  finish();
  EXPECT_EQ(completed(IORING_OP_READ), on_ring() ? 50U : 0U);
  EXPECT_EQ(completed(IORING_OP_FSYNC), on_ring() ? 10U : 0U);
  // Every request of this test is answered: with one SQE, unless a worker does it.
  EXPECT_EQ(completed(IORING_OP_WRITE) + serving_->server_counters().pooled,
            requests_served() + (on_ring() ? 20 : 0));
  EXPECT_EQ(serving_->loop_counters().inline_completions, on_ring() ? 0U : 80U);
}

TEST_P(ServingLoopTest, MetadataGoesTheWayOfItsMode) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");                                    // openat2, statx
  EXPECT_EQ(error_of(requests::getattr(node)), 0);                               // statx
  EXPECT_EQ(error_of(requests::open(node, O_RDONLY)), 0);                        // openat2
  EXPECT_EQ(error_of(requests::mkdir("directory", 0755)), 0);                    // mkdirat, lookup
  EXPECT_EQ(error_of(Message(FUSE_SYMLINK).name("symlink").name("target")), 0);  // and lookup
  EXPECT_EQ(error_of(Message(FUSE_LINK).with(fuse_link_in{node}).name("link")), 0);
  EXPECT_EQ(error_of(Message(FUSE_RENAME).with(fuse_rename_in{1}).name("link").name("moved")), 0);
  EXPECT_EQ(error_of(Message(FUSE_UNLINK).name("moved")), 0);
  EXPECT_EQ(error_of(Message(FUSE_RMDIR).name("directory")), 0);
  fuse_setxattr_in in{};
  in.size = 5;
  EXPECT_EQ(error_of(Message(FUSE_SETXATTR, node).with(in).name("user.name").text("value")), 0);
  finish();
  EXPECT_EQ(completed(IORING_OP_OPENAT2), nested() ? 5U : 0U);
  EXPECT_EQ(completed(IORING_OP_STATX), nested() ? 6U : 0U);  // with the getattr of finish()
  EXPECT_EQ(completed(IORING_OP_MKDIRAT), nested() ? 1U : 0U);
  EXPECT_EQ(completed(IORING_OP_SYMLINKAT), nested() ? 1U : 0U);
  EXPECT_EQ(completed(IORING_OP_LINKAT), nested() ? 1U : 0U);
  EXPECT_EQ(completed(IORING_OP_RENAMEAT), nested() ? 1U : 0U);
  EXPECT_EQ(completed(IORING_OP_UNLINKAT), nested() ? 2U : 0U);
  EXPECT_EQ(completed(IORING_OP_SETXATTR), nested() ? 1U : 0U);
}

TEST_P(ServingLoopTest, StatisticsNameTheModeAndCount) {
  backing_.put_file("file", "content");
  const std::uint64_t handle = open("file", O_RDWR);
  EXPECT_EQ(call(requests::read(handle, 0, 7)).text(), "content");
  serving_->post_statistics();
  while (!log_.has("statistics:")) std::this_thread::yield();
  const std::string line = log_.containing("statistics:").at(0);
  const std::string mode = std::string("loop=0 transport=dev backing=") +
                           (on_ring() ? "ring" : "inline") + " metadata=" + metadata_word() + " ";
  EXPECT_NE(line.find(mode), std::string::npos) << line;
  for (const std::string& part :
       {std::string("request.READ=1 "), std::string("request.LOOKUP=1 "),
        std::string("cqe.read=") + (on_ring() ? "1 " : "0 "),
        std::string("inline_data=") + (on_ring() ? "0 " : "1 "), std::string("replies_lost=0 ")}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << "in: " << line;
  }
  EXPECT_EQ(line.find("nested_waits=0 ") == std::string::npos, nested()) << line;
}

TEST_P(ServingLoopTest, IdleCostsNothing) {
  backing_.put_file("file", "content");
  (void)open("file", O_RDWR);
  const auto iterations = [&] {
    const std::size_t lines = log_.containing("statistics:").size();
    serving_->post_statistics();
    while (log_.containing("statistics:").size() == lines) std::this_thread::yield();
    const std::string line = log_.containing("statistics:").back();
    return std::stoul(line.substr(line.find(" iterations=") + 12));
  };
  const std::uint64_t before = iterations();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(iterations() - before, 4U);
}

TEST_P(ServingLoopTest, EndsByItselfWhenTheKernelHangsUp) {
  backing_.put_file("file", "content");
  (void)open("file", O_RDWR);
  hang_up();
  EXPECT_EQ(serving_->server_counters().replies_lost, 0U);
}

OURO_IN_ALL_MODES(ServingLoopTest);

struct NoRelay final : InterruptRelay {
  void relay_interrupt(const Server&, std::uint64_t) override {}
};

// No filter of system calls sees what is asked of a ring.
TEST(ServingLoopRing, TakesNothingThatIsNotServedWith) {
  const TemporaryTree backing;
  const FakeKernel kernel;
  Connection connection;
  connection.negotiated.max_write_bytes = 128 * 1024;
  NoRelay relay;
  const auto serving = ServingLoop::create(0, kernel.channel(),
                                           {.tree = *backing.tree,
                                            .identity = backing.identity,
                                            .connection = connection,
                                            .relay = relay,
                                            .loops = 1,
                                            .queue_depth = 0,
                                            .backing = Backing::kRing,
                                            .metadata = Metadata::kNested,
                                            .tracing = Tracing::kOff,
                                            .log = [](loop::LogLevel, std::string_view) {}});
  ASSERT_TRUE(serving);
  loop::AioContext& context = (*serving)->context();
  for (const auto used : {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_OPENAT2, IORING_OP_POLL_ADD}) {
    EXPECT_TRUE(context.supports(static_cast<std::uint8_t>(used))) << used;
  }
  testing::CountingHandler socket;
  context.add_sqe(
      [](io_uring_sqe& sqe) {
        sqe.opcode = IORING_OP_SOCKET;
        sqe.fd = AF_UNIX;
        sqe.off = SOCK_STREAM;
      },
      socket);
  testing::CountingHandler nothing;
  context.add_sqe([](io_uring_sqe& sqe) { sqe.opcode = IORING_OP_NOP; }, nothing);
  testing::poll_until(context, [&] { return socket.calls() == 1 && nothing.calls() == 1; });
  EXPECT_EQ(socket.result(), -EACCES);
  EXPECT_EQ(nothing.result(), -EACCES);
}

}  // namespace
}  // namespace ouro::fs
