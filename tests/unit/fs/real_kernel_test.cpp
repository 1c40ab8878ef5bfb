// What only the real kernel can show: the errors of the channel, the sizes it insists on, and the
// interrupts of clients that are killed. Clients are processes of their own.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "fs/handshake.hpp"
#include "fs/session.hpp"
#include "tests/unit/fs/kernel_mount.hpp"
#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

class RealKernel : public ServerRigTest {
 protected:
  void SetUp() override {
    const std::string missing = KernelMount::missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
    mount_ = std::make_unique<KernelMount>();
  }
  [[nodiscard]] std::string path(const std::string& name) const { return mount_->path() / name; }

  ServerRig& serve(const HandshakeOptions& wanted = {}) {
    ServerRig::Options options;
    // No more than the rig's slots can take.
    HandshakeOptions fitting = wanted;
    fitting.max_write_bytes = 128 * 1024;
    options.connection.negotiated = handshake(mount_->channel(), fitting).value();
    options.channel = mount_->channel();
    return start(options);
  }
  // Serves until the client has ended, and gives its outcome.
  int serve_until_end_of(Client& client) {
    while (!client.outcome()) turn();
    return *client.outcome();
  }
  void turn() {
    (void)context_->poll(loop::Blocking::kNo);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

  std::unique_ptr<KernelMount> mount_;
};

TEST_F(RealKernel, TheHandshake) {
  const auto negotiated = handshake(mount_->channel(), {});
  ASSERT_TRUE(negotiated);
  EXPECT_GE(negotiated->kernel_minor, 31U);
  EXPECT_NE(negotiated->flags & FUSE_MAX_PAGES, 0U);
}

TEST_F(RealKernel, AFileIsReadAndWritten) {
  backing_.put_file("file", "content");
  serve();
  Client client([&] {
    char buffer[100]{};
    const int fd = ::open(path("file").c_str(), O_RDWR);
    if (fd < 0 || ::read(fd, buffer, sizeof buffer) != 7) return 1;
    return ::pwrite(fd, "C", 1, 0) == 1 && ::close(fd) == 0 ? 0 : 2;
  });
  EXPECT_EQ(serve_until_end_of(client), 0);
  EXPECT_EQ(backing_.content("file"), "Content");
}

TEST_F(RealKernel, UnmountIsTheRegularEnd) {
  ServerRig& rig = serve();
  mount_->unmount();
  rig.until([&] { return rig.server.disconnected().has_value(); });
  EXPECT_EQ(rig.server.disconnected(), Disconnect::kUnmounted);
}

TEST_F(RealKernel, AnAbortIsToldFromAnUnmount) {
  ServerRig& rig = serve();
  mount_->abort();
  rig.until([&] { return rig.server.disconnected().has_value(); });
  EXPECT_EQ(rig.server.disconnected(), Disconnect::kAborted);
  EXPECT_TRUE(rig.log.has("aborted"));
}

TEST_F(RealKernel, RepliesAreLostWhenItAborts) {
  backing_.put_file("file", "content");
  ServerRig& rig = serve();
  rig.data.hold();
  Client client([&] {
    char byte = 0;
    const int fd = ::open(path("file").c_str(), O_RDONLY);
    return ::read(fd, &byte, 1) < 0 ? errno : 0;
  });
  while (rig.data.held() == 0) turn();
  mount_->abort();
  const int error = serve_until_end_of(client);
  EXPECT_TRUE(error == ECONNABORTED || error == ENOTCONN || error == EIO) << error;
  rig.until([&] { return rig.server.disconnected().has_value(); });
  EXPECT_FALSE(rig.server.finished());
  rig.data.let_all_go();
  rig.until([&] { return rig.server.finished(); });
  EXPECT_EQ(rig.counters().replies_lost, 1U);
}

class RealInterrupt : public RealKernel {
 protected:
  void SetUp() override {
    RealKernel::SetUp();
    if (IsSkipped()) return;
    backing_.put_file("file", std::string(4096, 'x'));
    serve().data.hold();
    client_ = std::make_unique<Client>([&] { return read_directly(path("file")); });
    while (rig_->data.held() == 0 && !client_->outcome()) turn();
    if (client_->outcome()) GTEST_SKIP() << "no direct I/O in " << backing_.directory.path();
  }
  // A direct read waits for its answer; a cached one would wait for a page, without an interrupt.
  static int read_directly(const std::string& file) {
    (void)::signal(SIGUSR1, [](int) {});  // interrupts, and restarts what it interrupts
    alignas(4096) static char buffer[4096];
    const int fd = ::open(file.c_str(), O_RDONLY | O_DIRECT);
    return ::read(fd, buffer, sizeof buffer) == sizeof buffer ? 0 : errno;
  }

  std::unique_ptr<Client> client_;
};

TEST_F(RealInterrupt, AKilledClientIsLetGo) {
  ASSERT_EQ(::kill(client_->pid(), SIGKILL), 0);
  EXPECT_EQ(serve_until_end_of(*client_), -SIGKILL);
  EXPECT_GE(rig_->counters().interrupted, 1U);
}

TEST_F(RealInterrupt, AnotherSignalChangesNothing) {
  ASSERT_EQ(::kill(client_->pid(), SIGUSR1), 0);
  while (rig_->counters().interrupts == 0) turn();
  EXPECT_FALSE(client_->outcome());
  EXPECT_EQ(rig_->counters().interrupted, 0U);
  rig_->data.let_all_go();
  EXPECT_EQ(serve_until_end_of(*client_), 0);
}

// --- a whole session -----------------------------------------------------------------------------

class RealSession : public RealKernel {
 protected:
  void TearDown() override {
    if (!thread_.joinable()) return;
    mount_->unmount();
    thread_.join();
    EXPECT_EQ(disconnected_, Disconnect::kUnmounted);
  }
  void run_session(std::uint32_t max_write_bytes) {
    SessionOptions options;
    options.max_write_bytes = max_write_bytes;
    thread_ = std::thread([this, options] {
      const auto session = Session::create({mount_->channel()}, *backing_.tree, backing_.identity,
                                           options, log_.sink())
                               .value();
      disconnected_ = session->run();
    });
  }
  [[nodiscard]] static int outcome_of(const std::function<int()>& body) {
    Client client(body);
    while (!client.outcome()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return *client.outcome();
  }

  LogCapture log_;
  std::optional<Disconnect> disconnected_;
  std::thread thread_;
};

TEST_F(RealSession, TheSmallestWriteSizeServes) {
  // KERNEL: a read() of the channel with less than FUSE_MIN_READ_BUFFER bytes is EINVAL.
  run_session(4096);
  const std::string data(10'000, 'x');
  EXPECT_EQ(outcome_of([&] {
              const int fd = ::open(path("file").c_str(), O_CREAT | O_RDWR, 0600);
              if (fd < 0) return errno;
              const ssize_t bytes = ::write(fd, data.data(), data.size());
              return bytes == static_cast<ssize_t>(data.size()) ? 0 : 255;
            }),
            0);
  EXPECT_TRUE(backing_.content("file") == data);
}

TEST_F(RealSession, XattrsMayBeLongerThanWrites) {
  // KERNEL: a SETXATTR that does not fit into the buffer of read() is E2BIG without a server.
  backing_.put_file("file");
  run_session(4096);
  const std::string value(60'000, 'v');
  const auto set = [&](const std::string& file) {
    return ::setxattr(file.c_str(), "user.long", value.data(), value.size(), 0) == 0 ? 0 : errno;
  };
  const int native = set(backing_.directory / "file");
  (void)::removexattr((backing_.directory / "file").c_str(), "user.long");
  EXPECT_EQ(outcome_of([&] { return set(path("file")); }), native);
}

TEST_F(RealSession, ListsOfXattrsMayBeLongerThanWrites) {
  backing_.put_file("file");
  const std::string file = backing_.directory / "file";
  for (int i = 0; i < 15; ++i) {
    const std::string name = "user." + std::to_string(i) + std::string(240, 'n');
    if (::setxattr(file.c_str(), name.c_str(), "", 0, 0) != 0) {
      GTEST_SKIP() << "no room for many xattrs in " << backing_.directory.path();
    }
  }
  const auto list = [](const std::string& of) {
    std::string names(65536, 0);
    return ::listxattr(of.c_str(), names.data(), names.size()) > 3600 ? 0 : errno;
  };
  ASSERT_EQ(list(file), 0);
  run_session(4096);
  EXPECT_EQ(outcome_of([&] { return list(path("file")); }), 0);
}

}  // namespace
}  // namespace ouro::fs
