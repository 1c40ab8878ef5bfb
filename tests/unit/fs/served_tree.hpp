// A temporary directory served by a ServingLoop in a thread of its own, in one of the modes that a
// mount can have, with the test as the kernel. Every test that is run on it is repeated in all
// modes, and each asserts, by what the loop has counted, that it was the mode it names.
#pragma once

#include <sys/stat.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "fs/serving_loop.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/fake_kernel.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/requests.hpp"
#include "tests/unit/fs/temporary_tree.hpp"

namespace ouro::fs {

struct Mode {
  Backing backing = Backing::kRing;
  Metadata metadata = Metadata::kInline;
};

// Creates, runs and destroys a ServingLoop in its thread.
class ServingThread {
 public:
  ServingThread(int channel, const Shared& shared);
  ~ServingThread() { stop(); }

  // Ends the loop when what it has is answered. What it has counted can be read then.
  void stop();
  void post_statistics();
  // Waits for a loop that ends by itself.
  void wait_for_end();
  [[nodiscard]] const loop::LoopCounters& loop_counters() const { return loop_counters_; }
  [[nodiscard]] const ServerCounters& server_counters() const { return server_counters_; }

 private:
  void run(int channel, const Shared& shared);

  std::mutex mutex_;
  std::condition_variable changed_;
  ServingLoop* loop_ = nullptr;  // guarded by mutex_
  bool ended_ = false;           // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  loop::LoopCounters loop_counters_;
  ServerCounters server_counters_;
  std::thread thread_;
};

class ServedTree : public ::testing::TestWithParam<Mode> {
 protected:
  // What the connection is to be before the first request is sent.
  Connection connection_ = default_connection();

  [[nodiscard]] Answer call(Message message) { return kernel().call(std::move(message)); }
  [[nodiscard]] int error_of(Message message) { return call(std::move(message)).error(); }
  // The kernel's side; serving begins with the first use of it.
  [[nodiscard]] FakeKernel& kernel();
  // The nodes whose attributes the kernel was told to drop.
  [[nodiscard]] std::vector<std::uint64_t> dropped_attributes();
  // Waits until everything that was sent before has been served.
  void catch_up() { EXPECT_EQ(error_of(requests::getattr()), 0); }

  // The node of a name, counted as one lookup.
  [[nodiscard]] std::uint64_t look_up(const std::string& name,
                                      std::uint64_t parent = requests::kRoot);
  [[nodiscard]] std::uint64_t open(const std::string& name, int flags);
  [[nodiscard]] std::uint64_t open_directory(std::uint64_t node = requests::kRoot);
  [[nodiscard]] std::string path(const std::string& name) const {
    return backing_.directory / name;
  }

  void TearDown() override { finish(); }
  // Asserts that it still serves, stops, and checks the mode. What was counted can be read then.
  void finish();
  // Closes the kernel's end, and waits until the loop has ended.
  void hang_up();

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  TemporaryTree backing_;
  passthrough::Tree& tree_ = *backing_.tree;
  LogCapture log_;

 private:
  struct NoRelay final : InterruptRelay {
    void relay_interrupt(const Server&, std::uint64_t) override {}
  };

  static Connection default_connection();
  void expect_mode(const loop::LoopCounters& loop) const;

  FakeKernel kernel_;
  NoRelay relay_;
  bool finished_ = false;

 protected:
  std::unique_ptr<ServingThread> serving_;  // last: it uses the others
};

// What stat() says of a path, as the wire has it; computed independently of the code under test.
[[nodiscard]] fuse_attr attributes_of(const std::string& path);
// What a lookup of it answers, with the timeouts of a default CachePolicy.
[[nodiscard]] fuse_entry_out entry_of(const std::string& path, std::uint64_t node);
// Whether two structs of the wire are the same, byte for byte.
template <typename T>
[[nodiscard]] bool same_bytes(const T& left, const T& right) {
  return std::memcmp(&left, &right, sizeof(T)) == 0;
}

[[nodiscard]] std::string mode_name(const ::testing::TestParamInfo<Mode>& info);

}  // namespace ouro::fs

// Repeats the tests of a fixture derived from ServedTree in every mode.
#define OURO_IN_ALL_MODES(Fixture)                                                      \
  INSTANTIATE_TEST_SUITE_P(Modes, Fixture,                                              \
                           ::testing::Values(Mode{Backing::kRing, Metadata::kInline},   \
                                             Mode{Backing::kRing, Metadata::kNested},   \
                                             Mode{Backing::kInline, Metadata::kInline}, \
                                             Mode{Backing::kInline, Metadata::kNested}, \
                                             Mode{Backing::kRing, Metadata::kAuto}),    \
                           mode_name)
