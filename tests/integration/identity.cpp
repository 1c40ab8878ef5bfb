#include "tests/integration/identity.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/integration/blackboard.hpp"
#include "tests/support/process.hpp"

namespace ouro::testing {
namespace {

bool give_up_fsetid() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective &= ~(1U << CAP_FSETID);
  return ::syscall(SYS_capset, &header, data) == 0;
}

}  // namespace

bool take_on(const Identity& identity) {
  return ::setgroups(identity.groups.size(), identity.groups.data()) == 0 &&
         ::setresgid(identity.gid, identity.gid, identity.gid) == 0 &&
         ::setresuid(identity.uid, identity.uid, identity.uid) == 0 &&
         (identity.keeps_fsetid || give_up_fsetid());
}

std::vector<std::string> lines_of(const Identity& identity,
                                  const std::function<std::vector<std::string>()>& act) {
  const Blackboard blackboard;
  Process child = Process::run(Who::kRoot, [&] {
    if (!take_on(identity)) return 1;
    blackboard.write(act());
    return 0;
  });
  EXPECT_EQ(child.wait(at_pace(std::chrono::seconds(60))), kExitOk) << identity.name;
  return blackboard.lines();
}

void as(const Identity& identity, Transcript& t, const std::function<void(Transcript&)>& act) {
  t.note("now acts", identity.name);
  t.append(lines_of(identity, [&] {
    Transcript own(t.side());
    act(own);
    return own.lines();
  }));
}

}  // namespace ouro::testing
