// For tests that mount for real, as root or as a plain user: one place to mount on, and what the
// mount table says about it.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "mount-helper/mount_point.hpp"
#include "own_namespace.hpp"

namespace ouro::mount_helper {

inline std::string mount_table() {
  std::ifstream file("/proc/self/mountinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The line of the mount at `path`, empty if there is none.
inline std::string table_line(const std::string& path) {
  std::istringstream lines(mount_table());
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" " + path + " ") != std::string::npos) found = line;
  }
  return found;
}

class MountPointTest : public OwnNamespace {
 protected:
  void SetUp() override {
    OwnNamespace::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (::access("/dev/fuse", F_OK) != 0) GTEST_SKIP() << "there is no /dev/fuse";
    place_ = make_directory("place");
  }

  std::unique_ptr<MountPoint> mounted(std::vector<std::string> options = {"fsname=/src",
                                                                          "subtype=ourofs"}) {
    auto mount = MountPoint::create({place_, std::move(options), 0});
    if (!mount) {
      ADD_FAILURE() << render(mount.error());
      return nullptr;
    }
    return *std::move(mount);
  }

  // How many of the mounts below the test's directory are of ourofs. The machine may have others.
  [[nodiscard]] std::size_t ourofs_mounts() const {
    std::istringstream lines(mount_table());
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line);) {
      const bool is_here = line.find(" " + directory_.string() + "/") != std::string::npos;
      if (is_here && line.find(" fuse.ourofs ") != std::string::npos) ++count;
    }
    return count;
  }

  // What create() says, for a mount that must not come about.
  Failure refusal(std::vector<std::string> options = {"fsname=/src", "subtype=ourofs"}) {
    const auto before = mount_table();
    ::testing::internal::CaptureStderr();
    const auto mount = MountPoint::create({place_, std::move(options), 0});
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "libraries must not speak for us";
    EXPECT_EQ(mount_table(), before) << "something stayed mounted";
    if (mount) return {ExitCode::kOk, "mounted", ""};
    EXPECT_EQ(mount.error().exit_code, ExitCode::kMountFailed);
    return mount.error();
  }

  std::string place_;
};

}  // namespace ouro::mount_helper
