#include "passthrough/task_status.hpp"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "loop/tsan.hpp"
#include "tests/unit/passthrough/process_state.hpp"
#include "tests/unit/passthrough/real_caller.hpp"

namespace ouro::passthrough {
namespace {

std::string status_text(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  return {std::istreambuf_iterator<char>(status), {}};
}

TEST(TaskStatus, NamesTheSupplementaryGroups) {
  OURO_NEEDS_ROOT();
  const RealCaller real;
  EXPECT_EQ(groups_of(real.caller().pid), std::vector<gid_t>{RealCaller::kMemberOf});
  EXPECT_TRUE(is_member(real.caller().pid, RealCaller::kMemberOf));
  EXPECT_FALSE(is_member(real.caller().pid, RealCaller::kMemberOf + 1));
  EXPECT_FALSE(is_member(real.caller().pid, 123)) << "no part of a number";
}

TEST(TaskStatus, NamesTheCapabilities) {
  OURO_NEEDS_ROOT();
  EXPECT_TRUE(has_capability(::getpid(), CAP_FSETID));
  const RealCaller without;
  EXPECT_FALSE(has_capability(without.caller().pid, CAP_FSETID));
}

TEST(TaskStatus, CapabilitiesOfAnotherUserNamespaceAreNone) {
  OURO_NEEDS_ROOT();
#ifdef OURO_TSAN
  GTEST_SKIP() << "a process with ThreadSanitizer's thread cannot have a user namespace of its own";
#endif
  const RealCaller in_its_own([] { static_cast<void>(::unshare(CLONE_NEWUSER)); });
  const std::string status = status_text(in_its_own.caller().pid);
  EXPECT_NE(status.find("CapEff:"), std::string::npos) << status;
  EXPECT_EQ(status.find("CapEff:\t0000000000000000"), std::string::npos) << status;
  EXPECT_FALSE(has_capability(in_its_own.caller().pid, CAP_FSETID));
}

TEST(TaskStatus, ANameDoesNotPassForACapability) {
  OURO_NEEDS_ROOT();
  const RealCaller named([] { ::prctl(PR_SET_NAME, "\nCapEff:\tffff"); });
  EXPECT_NE(status_text(named.caller().pid).find("CapEff:\tffff"), std::string::npos);
  for (unsigned capability = 0; capability < 16; ++capability) {
    EXPECT_FALSE(has_capability(named.caller().pid, capability)) << capability;
  }
}

TEST(TaskStatus, TellsWhoIsBeingKilled) {
  EXPECT_FALSE(is_being_killed(::getpid()));
  EXPECT_FALSE(is_being_killed(0));
}

TEST(TaskStatus, OfWhomNothingIsKnownTheAnswerIsNo) {
  EXPECT_FALSE(is_member(0, 0)) << "somebody in another pid namespace";
  EXPECT_TRUE(groups_of(0).empty());
  EXPECT_FALSE(has_capability(0, CAP_FSETID));
}

TEST(CallerOf, IsWhoTheTaskIs) {
  const Caller us = caller_of(::getpid());
  EXPECT_EQ(us.uid, ::geteuid());
  EXPECT_EQ(us.gid, ::getegid());
  for (const pid_t unknown : {pid_t{0}, pid_t{0x7fffffff}}) {
    EXPECT_EQ(caller_of(unknown).uid, 65534U);
    EXPECT_EQ(caller_of(unknown).gid, 65534U);
  }
}

}  // namespace
}  // namespace ouro::passthrough
