// A source in which some operations hang: a frozen file system, and an opening that waits for a
// listener's permission. With metadata=auto a single loop serves everybody else meanwhile, the
// listener included.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/blackboard.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::chrono::seconds;

// A file system on which nobody can change anything, for as long as this lives.
class Frozen {
 public:
  explicit Frozen(const std::filesystem::path& root)
      : root_(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        frozen_(::ioctl(root_.get(), FIFREEZE, 0) == 0) {}
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  ~Frozen() { EXPECT_EQ(::ioctl(root_.get(), FITHAW, 0), 0); }
  [[nodiscard]] bool holds() const { return frozen_; }

 private:
  const UniqueFd root_;
  const bool frozen_;
};

class HangingSource : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    OURO_REQUIRE(can_serve(GetParam()));
    auto made = LoopImage::create("ext4");
    if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) {
      GTEST_SKIP() << missing->reason;
    }
    image_ = std::get<std::unique_ptr<LoopImage>>(std::move(made));
    // KERNEL: a directory in which something is being made is locked in the client meanwhile.
    for (int i = 0; i < kHanging; ++i) {
      std::filesystem::create_directory(image_->path() / std::to_string(i));
    }
    for (const char* name : {"held", "other", "known"}) make_file(image_->path() / name, "content");
    mounted_ = std::make_unique<Mounted>(MountPlan{
        .options = GetParam().options("attr_timeout=0,entry_timeout=0"), .source = image_->path()});
  }
  void TearDown() override {
    if (!mounted_) return;
    const auto statistics = mounted_->statistics();
    for (const auto& objection : disprove(GetParam(), *mounted_, statistics, Work::kAny)) {
      ADD_FAILURE() << objection;
    }
  }
  [[nodiscard]] std::string path(const std::string& name) const { return mounted_->path() / name; }

  // All that does not change the source goes on.
  void expect_others_served() const {
    Process other = Process::run(Who::kRoot, [this] {
      for (int i = 0; i < 100; ++i) {
        struct ::stat stat {};
        if (::lstat(path("known").c_str(), &stat) != 0 || stat.st_size != 7) return 1;
        const UniqueFd fd(::open(path("known").c_str(), O_RDONLY | O_CLOEXEC));
        if (read_at(fd.get(), 100, 0).size() != 7) return 2;
        const std::filesystem::directory_iterator names(mounted_->path());
        if (std::distance(begin(names), end(names)) < 3) return 3;
        if (::access(path("absent").c_str(), F_OK) == 0 || errno != ENOENT) return 4;
      }
      return 0;
    });
    EXPECT_EQ(other.wait(at_pace(seconds(10))), kExitOk);
  }

  static constexpr int kHanging = 40;
  std::unique_ptr<LoopImage> image_;
  std::unique_ptr<Mounted> mounted_;
};

TEST_P(HangingSource, WhatIsFrozenDoesNotKeepOthersFromBeingServed) {
  std::vector<Process> clients;
  {
    const Frozen frozen(image_->path());
    ASSERT_TRUE(frozen.holds());
    for (int i = 0; i < kHanging; ++i) {
      clients.push_back(Process::run(Who::kRoot, [this, i] {
        const std::string name = path(std::to_string(i) + "/new");
        switch (i % 4) {
          case 0:
            return ::mkdir(name.c_str(), 0700) == 0 ? 0 : 1;
          case 1:
            return ::symlink("target", name.c_str()) == 0 ? 0 : 1;
          case 2:
            return ::chmod(path("other").c_str(), 0640) == 0 ? 0 : 1;
          default:
            return UniqueFd(::open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) ? 0 : 1;
        }
      }));
    }
    ::usleep(200'000);
    for (Process& client : clients) EXPECT_TRUE(client.running()) << "it did not hang";
    expect_others_served();
  }
  for (Process& client : clients) EXPECT_EQ(client.wait(at_pace(seconds(10))), kExitOk);
}

TEST_P(HangingSource, AHeldOpeningMayWaitForThisVeryMount) {
  const UniqueFd listener(::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC));
  if (!listener || ::fanotify_mark(listener.get(), FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD,
                                   (image_->path() / "held").c_str()) != 0) {
    GTEST_SKIP() << "no permission events of fanotify: errno " << errno;
  }
  const Blackboard go;
  std::vector<Process> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Process::run(Who::kRoot, [this] {
      const UniqueFd fd(::open(path("held").c_str(), O_RDONLY | O_CLOEXEC));
      return read_at(fd.get(), 100, 0).size() == 7 ? 0 : 1;
    }));
  }
  Process permitter = Process::run(Who::kRoot, [&] {
    for (int permitted = 0; permitted < 8;) {
      fanotify_event_metadata event{};
      if (::read(listener.get(), &event, sizeof event) != sizeof event) return 1;
      const UniqueFd object(event.fd);
      if (permitted == 0 && !eventually([&go] { return !go.lines().empty(); })) return 2;
      // What decides about it is read by the same mount, and something is written there.
      const UniqueFd other(::open(path("other").c_str(), O_RDONLY | O_CLOEXEC));
      if (read_at(other.get(), 100, 0).size() != 7) return 3;
      const std::string name = path("seen" + std::to_string(permitted));
      if (!UniqueFd(::open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600))) return 4;
      const fanotify_response response{event.fd, FAN_ALLOW};
      if (::write(listener.get(), &response, sizeof response) != sizeof response) return 5;
      ++permitted;
    }
    return 0;
  });
  ::usleep(200'000);
  for (Process& client : clients) EXPECT_TRUE(client.running()) << "it was not held";
  expect_others_served();
  go.write({"go"});
  EXPECT_EQ(permitter.wait(at_pace(seconds(20))), kExitOk);
  for (Process& client : clients) EXPECT_EQ(client.wait(at_pace(seconds(10))), kExitOk);
}

INSTANTIATE_TEST_SUITE_P(, HangingSource,
                         ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kAuto, 1},
                                           Mode{Who::kRoot, Backing::kRing, Metadata::kAuto, 1,
                                                Transport::kRing}),
                         [](const auto& instance) { return instance.param.name(); });

}  // namespace
}  // namespace ouro::testing
