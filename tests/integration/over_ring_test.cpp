// FUSE-over-io_uring: what is particular to it. That all else is as by /dev/fuse, the modes of the
// other tests show.
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

unsigned cpu_count() {
  return static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_CONF));
}

// What each thread of a process may run on, as in "0-1"; but for the kernel's workers of a ring,
// which go where its thread is pinned, whatever is said (KERNEL(6.2): user_cpus_ptr).
std::multiset<std::string> cpus_of_threads(pid_t pid) {
  std::multiset<std::string> cpus;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    if (read_file(task.path() / "comm").starts_with("iou-wrk")) continue;
    const std::string status = read_file(task.path() / "status");
    const std::string key = "Cpus_allowed_list:\t";
    const std::size_t at = status.find(key) + key.size();
    cpus.insert(status.substr(at, status.find('\n', at) - at));
  }
  return cpus;
}

TEST(OverRing, PinsALoopToEachCpu) {
  const Mode mode{Who::kRoot, Backing::kRing, Metadata::kNested, cpu_count(), Transport::kRing};
  OURO_REQUIRE(can_serve(mode));
  if (::sysconf(_SC_NPROCESSORS_ONLN) != ::sysconf(_SC_NPROCESSORS_CONF)) {
    GTEST_SKIP() << "not every CPU is there";
  }
  Mounted mounted({.options = mode.options()});
  // Listings run in workers, which are not to be pinned along with their loops.
  make_file(mounted.source() / "f", "text");
  in_child(Who::kRoot, [&] {
    EXPECT_EQ(read_file(mounted.path() / "f"), "text");
    for (const auto& entry : std::filesystem::directory_iterator(mounted.path())) {
      EXPECT_EQ(entry.path().filename(), "f");
    }
  });
  const auto cpus = cpus_of_threads(mounted.pid());
  std::size_t pinned = 0;
  for (unsigned cpu = 0; cpu < mode.loops; ++cpu) {
    const auto own = cpus.count(std::to_string(cpu));
    EXPECT_GE(own, 1U) << "no loop on CPU " << cpu;
    pinned += own;
  }
  EXPECT_GT(mounted.statistics()["pooled"], 0U) << "no worker is there to look at";
  if (mode.loops > 1) {
    EXPECT_EQ(pinned, mode.loops);
    EXPECT_GT(cpus.size(), pinned);
  }
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

TEST(OverRing, RunsWhereItMayNotBePinned) {
  const Mode mode{Who::kRoot, Backing::kRing, Metadata::kInline, cpu_count(), Transport::kRing};
  OURO_REQUIRE(can_serve(mode));
  if (mode.loops < 2) GTEST_SKIP() << "there is but one CPU";
  Mounted mounted({.options = mode.options(), .expected = {"is not pinned"}, .before_exec = [] {
                     cpu_set_t first;
                     CPU_ZERO(&first);
                     CPU_SET(0, &first);
                     ASSERT_EQ(::sched_setaffinity(0, sizeof first, &first), 0);
                   }});
  EXPECT_TRUE(eventually([&] {
    return mounted.log().find("loop 1 is not pinned") != std::string::npos;
  })) << mounted.log();
  make_file(mounted.source() / "f", "text");
  in_child(Who::kRoot, [&] { EXPECT_EQ(read_file(mounted.path() / "f"), "text"); });
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

// Who waits for a lock of the source would hold an entry for as long as others please.
TEST(OverRing, RemoteLocksComeByTheChannel) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(has_fuse_over_uring());
  Mounted mounted({.options = {"-o", "transport=ring,locks=remote"},
                   .expected = {"requests come by /dev/fuse, since waits for locks"}});
  EXPECT_EQ(mounted.served("transport"), "dev");
  make_file(mounted.source() / "f", "text");
  in_child(Who::kRoot, [&] {
    const UniqueFd fd(::open((mounted.path() / "f").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(::flock(fd.get(), LOCK_EX), 0);
  });
  EXPECT_EQ(mounted.statistics()["by_ring"], 0U);
  EXPECT_GT(mounted.statistics()["request.SETLKW"], 0U);
}

// Fewer loops than CPUs, and more.
TEST(OverRing, EveryQueueHasALoop) {
  for (const unsigned loops : {1U, cpu_count() + 1}) {
    const Mode mode{Who::kRoot, Backing::kRing, Metadata::kInline, loops, Transport::kRing};
    OURO_REQUIRE(can_serve(mode));
    Mounted mounted({.options = mode.options("queue_depth=1")});
    make_file(mounted.source() / "f", "text");
    for (unsigned cpu = 0; cpu < cpu_count(); ++cpu) {
      in_child(Who::kRoot, [&] {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (::sched_setaffinity(0, sizeof one, &one) != 0) return;  // it is not there
        EXPECT_EQ(read_file(mounted.path() / "f"), "text");
      });
    }
    for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
      ADD_FAILURE() << complaint;
    }
  }
}

}  // namespace
}  // namespace ouro::testing
