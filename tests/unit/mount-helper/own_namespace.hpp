// For tests that mount: a mount namespace of their own, so that nothing they leave behind, not even
// by crashing, reaches the machine. Every test gets a fresh directory on a tmpfs.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {

class OwnNamespace : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have a mount namespace of its own";
    home_ = loop::UniqueFd(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNS) != 0) GTEST_SKIP() << "unshare(CLONE_NEWNS): errno " << errno;
    separate_ = true;
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    std::string pattern = std::filesystem::temp_directory_path() / "ourofs-test-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ASSERT_EQ(::mount("test", directory_.c_str(), "tmpfs", 0, "mode=0755"), 0);
  }

  void TearDown() override {
    if (separate_) {
      ASSERT_TRUE(return_home());
    }
    if (!directory_.empty()) std::filesystem::remove(directory_);
  }

  // KERNEL: setns() wants a task that shares its fs_struct with no other. Threads share it: those
  // of a test for a moment after they were joined, and ThreadSanitizer's own for ever.
  [[nodiscard]] bool return_home() const {
    return ::unshare(CLONE_FS) == 0 && ::setns(home_.get(), CLONE_NEWNS) == 0;
  }

  // A new directory that belongs to `uid`.
  std::string make_directory(const std::string& name, uid_t uid = 0) {
    const std::string path = directory_ / name;
    EXPECT_EQ(::mkdir(path.c_str(), 0755), 0) << path;
    EXPECT_EQ(::chown(path.c_str(), uid, uid), 0) << path;
    return path;
  }

  // Replaces /dev/fuse in this namespace by one of that mode; false where devices cannot be made.
  bool replace_fuse_device(mode_t mode) {
    const std::string path = directory_ / "fuse";
    return ::mknod(path.c_str(), S_IFCHR, ::makedev(10, 229)) == 0 &&
           ::chmod(path.c_str(), mode) == 0 &&
           ::mount(path.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) == 0;
  }

  std::filesystem::path directory_;

 private:
  loop::UniqueFd home_;
  bool separate_ = false;
};

inline constexpr uid_t kPlainUser = 65534;

// Runs `body` as a plain user: in a child, since FUSE looks at the saved ids as well, and they
// cannot be had back. Expectations that fail in `body` are printed there and fail the test here.
inline void as_plain_user(const std::function<void()>& body) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    EXPECT_EQ(::setgroups(0, nullptr), 0);
    EXPECT_EQ(::setresgid(kPlainUser, kPlainUser, kPlainUser), 0);
    EXPECT_EQ(::setresuid(kPlainUser, kPlainUser, kPlainUser), 0);
    body();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "as a plain user, see above";
}

}  // namespace ouro::mount_helper
