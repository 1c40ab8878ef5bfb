// What tests ask of their own process: identities, capabilities, descriptors; and being a plain
// user, or having mounts of one's own, for a while.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

#define OURO_NEEDS_ROOT() \
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have other identities or to mount"

// Runs a block of a test as with_own_mounts() does.
#define OURO_WITH_OWN_MOUNTS(...) \
  if (!with_own_mounts(__VA_ARGS__)) GTEST_SKIP() << "no mount namespace can be made here"

namespace ouro::passthrough {

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    count += entry.path().empty() ? 0 : 1;
  }
  return count;
}

// A field of the calling thread's status, such as "CapEff".
inline std::string thread_status(const std::string& field) {
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return line.substr(field.size() + 1);
  }
  return {};
}

inline std::uint64_t effective_capabilities() {
  return std::stoull(thread_status("CapEff"), nullptr, 16);
}

inline uid_t fs_uid() {
  return static_cast<uid_t>(::syscall(SYS_setfsuid, -1));
}
inline gid_t fs_gid() {
  return static_cast<gid_t>(::syscall(SYS_setfsgid, -1));
}

// The rest of the scope runs as a plain user, with real and effective ids.
class AsPlainUser {
 public:
  static constexpr uid_t kUid = 65534;

  AsPlainUser() {
    EXPECT_EQ(::setresgid(kUid, kUid, 0), 0);
    EXPECT_EQ(::setresuid(kUid, kUid, 0), 0);
  }
  ~AsPlainUser() {
    EXPECT_EQ(::setresuid(0, 0, 0), 0);
    EXPECT_EQ(::setresgid(0, 0, 0), 0);
    ::prctl(PR_SET_DUMPABLE, 1);  // lost with the identity; LeakSanitizer needs it
  }
  AsPlainUser(const AsPlainUser&) = delete;
  AsPlainUser& operator=(const AsPlainUser&) = delete;
};

// Runs `body` in a thread with mounts of its own, which end with it. A thread, because a mount
// namespace can be left only by a task that shares its directory with nobody, and the kernel's
// io_uring workers share it with theirs. False, without running it, where that cannot be had.
inline bool with_own_mounts(const std::function<void()>& body) {
  bool separate = false;
  std::thread thread([&] {
    separate = ::unshare(CLONE_FS | CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (separate) body();
  });
  thread.join();
  return separate;
}

}  // namespace ouro::passthrough
