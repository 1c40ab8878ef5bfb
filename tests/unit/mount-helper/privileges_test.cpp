#include "mount-helper/privileges.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

// Nothing of this can be given back, so every test spends a process on it.
void in_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    body();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "in a child, see above";
}

std::uint64_t set_of(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":\t"))
      return std::stoull(line.substr(name.size() + 2), nullptr, 16);
  }
  ADD_FAILURE() << "/proc/self/status has no " << name;
  return 0;
}

std::uint64_t serving_set() {
  std::uint64_t set = 0;
  for (const Capability& capability : serving_capabilities()) {
    set |= std::uint64_t{1} << capability.number;
  }
  return set;
}

TEST(Privileges, RootKeepsWhatServingNeeds) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have something to lose";
  in_child([] {
    const std::uint64_t kept = set_of("CapPrm") & serving_set();
    ASSERT_NE(set_of("CapPrm"), kept);
    ASSERT_TRUE(reduce_bounding_set());
    ASSERT_TRUE(reduce_capabilities());
    for (const char* name : {"CapEff", "CapPrm", "CapBnd"}) EXPECT_EQ(set_of(name), kept) << name;
    for (const char* name : {"CapInh", "CapAmb"}) EXPECT_EQ(set_of(name), 0U) << name;
  });
}

TEST(Privileges, NothingComesBackByExecution) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have something to lose";
  in_child([] {
    const std::uint64_t kept = set_of("CapPrm") & serving_set();
    ASSERT_TRUE(reduce_bounding_set());
    ASSERT_TRUE(reduce_capabilities());
    char expected[64];
    std::snprintf(expected, sizeof expected, "grep -qx 'CapEff:.%016llx' /proc/self/status",
                  static_cast<unsigned long long>(kept));
    ::execl("/bin/sh", "sh", "-c", expected, nullptr);
    ADD_FAILURE() << "cannot execute a shell";
  });
}

TEST(Privileges, WhoMayNotIsToldSo) {
  in_child([] {
    if (::geteuid() == 0) {
      ASSERT_EQ(::setresuid(65534, 65534, 65534), 0);
    }
    EXPECT_EQ(reduce_bounding_set().error(), loop::Errno(EPERM));
  });
}

TEST(Privileges, NoneAreGainedAndNothingIsDumped) {
  in_child([] {
    ASSERT_EQ(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    ASSERT_TRUE(refuse_new_privileges());
    EXPECT_EQ(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    ASSERT_TRUE(refuse_dumps());
    EXPECT_EQ(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  });
}

}  // namespace
}  // namespace ouro::mount_helper
