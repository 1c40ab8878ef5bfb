// A source of which a part has stopped answering: a mount within it, whose program is stopped. What
// is asked of that part waits; all else is served meanwhile, even by a single loop.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/blackboard.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::chrono::seconds;

class StalledSource : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    OURO_REQUIRE(can_serve(GetParam()));
    std::filesystem::create_directories(home_ / "source/stalls");
    make_file(home_ / "source/file", "content");
    // With remote locks each close() is a request, too.
    inner_ = std::make_unique<Mounted>(
        MountPlan{.options = {"-o", "locks=remote"}, .mountpoint = home_ / "source/stalls"});
    make_file(inner_->source() / "file", "content");
    outer_ = std::make_unique<Mounted>(
        MountPlan{.options = GetParam().options(), .source = home_ / "source"});
  }
  void TearDown() override {
    if (inner_) inner_->signal(SIGCONT);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return outer_->path() / name; }

  // Runs `body` in a client of its own, with `name` opened before the stop.
  void ask(const std::string& name, int flags, const std::function<bool(int)>& body) {
    clients_.push_back(Process::run(Who::kRoot, [this, name, flags, body] {
      const UniqueFd fd(::open(path(name).c_str(), flags | O_CLOEXEC));
      ready_.write({"open"});
      if (!fd || !eventually([this] { return !go_.lines().empty(); })) return 1;
      return body(fd.get()) ? 0 : 2;
    }));
  }
  // Each of its threads: a signal takes its time.
  [[nodiscard]] bool inner_has_stopped() const {
    const std::filesystem::path tasks = "/proc/" + std::to_string(inner_->pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      if (read_file(task.path() / "status").find("State:\tT") == std::string::npos) return false;
    }
    return true;
  }
  // Stops the inner mount's program, and lets the clients do what they were told to.
  void stall() {
    ASSERT_TRUE(eventually([this] { return ready_.lines().size() == clients_.size(); }));
    inner_->signal(SIGSTOP);
    ASSERT_TRUE(eventually([this] { return inner_has_stopped(); }));
    go_.write({"go"});
    ::usleep(200'000);
    for (Process& client : clients_) EXPECT_TRUE(client.running()) << "it did not stall";
  }
  void expect_others_served() const {
    Process other = Process::run(Who::kRoot, [this] {
      const UniqueFd fd(::open(path("file").c_str(), O_RDONLY | O_CLOEXEC));
      const auto bytes = read_at(fd.get(), 100, 0);
      return std::string(bytes.begin(), bytes.end()) == "content" ? 0 : 1;
    });
    EXPECT_EQ(other.wait(seconds(10)), kExitOk);
  }
  void resume() {
    inner_->signal(SIGCONT);
    for (Process& client : clients_) EXPECT_EQ(client.wait(seconds(10)), kExitOk);
  }

  const TempDir home_;
  std::unique_ptr<Mounted> inner_;
  std::unique_ptr<Mounted> outer_;
  const Blackboard ready_{};
  const Blackboard go_{};
  std::vector<Process> clients_;
};

TEST_P(StalledSource, AReadDoesNotKeepOthersFromBeingServed) {
  ask("stalls/file", O_RDONLY, [](int fd) { return read_at(fd, 100, 0).size() == 7; });
  stall();
  expect_others_served();
  resume();
}

// What has no SQE form, where metadata is to wait on the ring.
TEST_P(StalledSource, NoCallKeepsOthersFromBeingServed) {
  if (GetParam().metadata == Metadata::kInline) GTEST_SKIP() << "inline metadata holds the loop up";
  const auto file = [&](const std::function<bool(int)>& body) { ask("stalls/file", O_RDWR, body); };
  ask("stalls", O_RDONLY | O_DIRECTORY, [](int fd) {
    std::array<char, 4096> records;
    return ::syscall(SYS_getdents64, fd, records.data(), records.size()) > 0;
  });
  file([](int fd) {
    struct ::statvfs space {};
    return ::fstatvfs(fd, &space) == 0;
  });
  file([](int fd) { return ::fchmod(fd, 0600) == 0; });
  file([](int fd) { return ::flistxattr(fd, nullptr, 0) >= 0; });
  file([](int fd) { return ::lseek(fd, 0, SEEK_DATA) == 0; });
  file([](int fd) { return ::close(::dup(fd)) == 0; });
  stall();
  expect_others_served();
  resume();
}

INSTANTIATE_TEST_SUITE_P(
    , StalledSource,
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kAuto, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kAuto, 1, Transport::kRing},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1, Transport::kRing},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1, Transport::kRing}),
    [](const auto& instance) { return instance.param.name(); });

}  // namespace
}  // namespace ouro::testing
