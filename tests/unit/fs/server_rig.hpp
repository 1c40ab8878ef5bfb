// A Server on a context of the test's own thread, between a FakeKernel and a temporary directory,
// with executors that hold operations back. For tests that must decide what happens when.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fs/connection.hpp"
#include "fs/dev_transport.hpp"
#include "fs/server.hpp"
#include "passthrough/inline_executor.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/fake_kernel.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/requests.hpp"
#include "tests/unit/fs/scripted_executors.hpp"
#include "tests/unit/fs/temporary_tree.hpp"

namespace ouro::fs {

// Hands an interrupt on to all servers that were named, as the session does.
class TestRelay final : public InterruptRelay {
 public:
  void add(Server& server) { servers_.push_back(&server); }
  [[nodiscard]] std::uint64_t relayed() const { return relayed_; }
  void relay_interrupt(const Server& from, std::uint64_t unique) override {
    ++relayed_;
    for (Server* server : servers_) {
      if (server != &from) server->post_interrupt(unique);
    }
  }

 private:
  std::vector<Server*> servers_;
  std::uint64_t relayed_ = 0;
};

class ServerRig {
 public:
  struct Options {
    std::size_t slots = 16;
    Connection connection;
    int channel = -1;  // of the real kernel, instead of the fake one's
    // What can block goes to workers, and `metadata` has nothing to do.
    passthrough::Blocking blocking = passthrough::Blocking::kAllowed;
  };

  ServerRig(loop::AioContext& rig_context, TemporaryTree& rig_tree, TestRelay& relay,
            const Options& options);
  // Expects that every request has ended.
  ~ServerRig();

  std::uint64_t send(Message message) { return kernel.send(std::move(message)); }
  // Sends a request and runs the loop until it is answered.
  Answer call(Message message) { return wait(send(std::move(message))); }
  Answer wait(std::uint64_t unique);
  [[nodiscard]] bool answered(std::uint64_t unique);
  // The node of a name, counted as one lookup.
  std::uint64_t look_up(const std::string& name);
  // An open handle of a file.
  std::uint64_t open(const std::string& name, int flags = O_RDWR);
  template <typename Done>
  void until(Done done) {
    // Never asleep: what a worker has answered may end without waking the loop.
    while (!done()) {
      if (!context.poll(loop::Blocking::kNo)) std::this_thread::yield();
    }
  }
  // Runs the loop until there is nothing to do at once.
  void settle();
  [[nodiscard]] const ServerCounters& counters() const { return server.counters(); }

  loop::AioContext& context;
  TemporaryTree& backing;
  FakeKernel kernel;
  LogCapture log;
  const Connection connection;
  passthrough::RingExecutor ring;
  passthrough::TryingExecutor trying;
  HoldingExecutor metadata;
  HoldingDataExecutor data;
  std::unique_ptr<DevTransport> transport;
  Server server;

 private:
  [[nodiscard]] Executors executors(const Options& options);
};

// A test with one rig, started on demand.
class ServerRigTest : public testing::LoopTest {
 protected:
  ServerRig& start(const ServerRig::Options& options = {}) {
    rig_ = std::make_unique<ServerRig>(*context_, backing_, relay_, options);
    return *rig_;
  }

  TemporaryTree backing_;
  TestRelay relay_;
  std::unique_ptr<ServerRig> rig_;
};

}  // namespace ouro::fs
