// The ways in which a mount ends, idle and under load: the exit code is right, nothing hangs,
// nothing is left.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <span>
#include <sstream>
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
using std::chrono::milliseconds;
using std::chrono::seconds;

// Processes that write, read and look about until the mount is gone.
class Load {
 public:
  explicit Load(const Mounted& mounted) {
    for (int i = 0; i < 3; ++i) {
      workers_.push_back(Process::run(mounted.who(), [&mounted, i] { return work(mounted, i); }));
    }
    // Under way when every one of them has written something.
    EXPECT_TRUE(eventually([&] {
      for (int i = 0; i < 3; ++i) {
        if (!std::filesystem::exists(mounted.source() / ("load" + std::to_string(i)))) return false;
      }
      return true;
    }));
  }
  // All of them must come back, whatever they were told.
  ~Load() {
    for (Process& worker : workers_) EXPECT_TRUE(worker.wait(seconds(10))) << "a client hangs";
  }

 private:
  static int work(const Mounted& mounted, int number) {
    const std::string file = mounted.path() / ("load" + std::to_string(number));
    const std::vector<char> data = pattern(300'000, 0);
    const auto deadline = std::chrono::steady_clock::now() + seconds(30);
    while (std::chrono::steady_clock::now() < deadline) {
      const UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT, 0644));
      if (!fd || !is_mountpoint(mounted.path())) return 0;
      if (!write_all(fd.get(), data, 0) || ::fsync(fd.get()) != 0) return 0;
      std::vector<char> back(data.size());
      if (::pread(fd.get(), back.data(), back.size(), 0) < 0) return 0;
    }
    return 1;
  }

  std::vector<Process> workers_;
};

// Modes that end differently: who may unmount, and which waits there are.
class Ending : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override { OURO_REQUIRE(can_serve(GetParam())); }
  [[nodiscard]] MountPlan plan() const {
    return {.options = GetParam().options(), .who = GetParam().who};
  }
};

TEST_P(Ending, Umount) {
  Mounted mounted(plan());
  EXPECT_EQ(mounted.end(Mounted::How::kUmount), kExitOk);
}

TEST_P(Ending, Fusermount) {
  Mounted mounted(plan());
  const Output output =
      run_command({.arguments = {"fusermount3", "-u", mounted.path()}, .who = GetParam().who});
  EXPECT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_EQ(mounted.end(Mounted::How::kWait), kExitOk);
}

TEST_P(Ending, BusyIsRefused) {
  Mounted mounted(plan());
  const Blackboard ready;
  Process user = Process::run(GetParam().who, [&] {
    if (::chdir(mounted.path().c_str()) != 0) return 1;
    ready.write({"inside"});
    ::pause();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return !ready.lines().empty(); }));
  EXPECT_EQ(::umount2(mounted.path().c_str(), 0), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_TRUE(mounted.running());
  user.signal(SIGKILL);
  EXPECT_TRUE(user.wait(seconds(5)));
  EXPECT_EQ(mounted.end(), kExitOk);
}

// The mount is out of sight at once, and the program serves on until its last user is gone.
TEST_P(Ending, LazyWithAnOpenFile) {
  Mounted mounted(plan());
  const Blackboard ready;
  Process user = Process::run(GetParam().who, [&] {
    const UniqueFd fd(::open((mounted.path() / "f").c_str(), O_RDWR | O_CREAT, 0644));
    ready.write({"open"});
    if (!eventually([&] { return !is_mountpoint(mounted.path()); })) return 1;
    ::usleep(50'000);
    const auto data = pattern(200'000, 0);
    if (!write_all(fd.get(), data, 0)) return 2;
    return read_at(fd.get(), data.size(), 0) == data ? 0 : 3;
  });
  ASSERT_TRUE(eventually([&] { return !ready.lines().empty(); }));
  EXPECT_EQ(::umount2(mounted.path().c_str(), MNT_DETACH), 0);
  EXPECT_EQ(user.wait(seconds(10)), kExitOk);
  EXPECT_EQ(mounted.end(Mounted::How::kWait), kExitOk);
  EXPECT_EQ(std::filesystem::file_size(mounted.source() / "f"), 200'000U);
}

TEST_P(Ending, SignalsWhenIdle) {
  for (const int number : {SIGTERM, SIGINT}) {
    Mounted mounted(plan());
    mounted.signal(number);
    EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(5)), kExitOk);
  }
}

TEST_P(Ending, SignalUnderLoad) {
  Mounted mounted(plan());
  mounted.expect_line("Device or resource busy; detaching it");
  mounted.expect_line("cannot unmount");
  const Load load(mounted);
  mounted.signal(SIGTERM);
  EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(10)), kExitOk);
}

// More than the kernel sends at a time (max_background requests).
constexpr std::size_t kDirtyBytes = 24U << 20;

// A client dirties pages, keeps its file open and does nothing more. The signal must not lose them.
void expect_saved_by_signal(Mounted& mounted, bool (*dirty)(int fd, std::span<const char> data)) {
  mounted.expect_line("cannot unmount");
  const auto data = pattern(kDirtyBytes, 0);
  const Blackboard done;
  Process user = Process::run(mounted.who(), [&] {
    const UniqueFd fd(::open((mounted.path() / "f").c_str(), O_RDWR | O_CREAT, 0644));
    done.write({dirty(fd.get(), data) ? "dirty" : "failed"});
    ::pause();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return !done.lines().empty(); }));
  ASSERT_EQ(done.lines(), std::vector<std::string>{"dirty"});
  mounted.signal(SIGTERM);
  EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(10)), kExitOk);
  EXPECT_TRUE(user.running());
  EXPECT_TRUE(read_file(mounted.source() / "f") == std::string(data.begin(), data.end()));
}

TEST_P(Ending, SignalSavesMappedPages) {
  Mounted mounted(plan());
  expect_saved_by_signal(mounted, [](int fd, std::span<const char> data) {
    if (::ftruncate(fd, static_cast<off_t>(data.size())) != 0) return false;
    void* mapping = ::mmap(nullptr, data.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) return false;
    std::ranges::copy(data, static_cast<char*>(mapping));
    return true;
  });
}

TEST_P(Ending, SignalSavesCollectedWrites) {
  Mounted mounted({.options = GetParam().options("writeback"), .who = GetParam().who});
  expect_saved_by_signal(mounted,
                         [](int fd, std::span<const char> data) { return write_all(fd, data, 0); });
}

TEST_P(Ending, AbortWhenIdle) {
  Mounted mounted(plan());
  mounted.expect_exit({2, 0});
  mounted.expect_line("the connection was aborted");
  abort_connection(mounted.path());
  EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(2)), (Exit{2, 0}));
}

TEST_P(Ending, AbortUnderLoad) {
  Mounted mounted(plan());
  mounted.expect_exit({2, 0});
  mounted.expect_line("the connection was aborted");
  const Load load(mounted);
  abort_connection(mounted.path());
  EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(4)), (Exit{2, 0}));
}

// Many loops, because their channels are let go of one after another while the watcher looks on.
TEST_P(Ending, KilledWithAutoUnmount) {
  Mode mode = GetParam();
  mode.loops = 16;
  MountPlan killed{.options = mode.options("auto_unmount"), .who = mode.who};
  for (int i = 0; i < 5; ++i) {
    Mounted mounted(killed);
    mounted.expect_exit({-1, SIGKILL});
    mounted.signal(SIGKILL);
    EXPECT_TRUE(eventually([&] { return !is_mountpoint(mounted.path()); })) << "left behind";
    EXPECT_EQ(mounted.end(Mounted::How::kWait), (Exit{-1, SIGKILL}));
  }
}

// The same directories again and again.
TEST_P(Ending, ManyTimes) {
  const TempDir home;
  MountPlan same = plan();
  same.source = home / "source";
  same.mountpoint = home / "mount";
  const uid_t owner = GetParam().who == Who::kRoot ? 0 : kPlainUid;
  for (const std::filesystem::path& directory : {same.source, same.mountpoint}) {
    std::filesystem::create_directory(directory);
    ASSERT_EQ(::chown(directory.c_str(), owner, owner), 0);
  }
  for (int i = 0; i < 20; ++i) {
    Mounted mounted(same);
    in_child(GetParam().who, [&] { make_file(mounted.path() / std::to_string(i), "text"); });
    EXPECT_EQ(mounted.end(i % 2 == 0 ? Mounted::How::kUmount : Mounted::How::kTerminate), kExitOk);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Ending,
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 1},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1, Transport::kRing},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 1,
                           Transport::kRing}),
    [](const auto& instance) { return instance.param.name(); });

void make_directory_of(Who who, const std::filesystem::path& path) {
  const uid_t owner = who == Who::kRoot ? 0 : kPlainUid;
  std::filesystem::create_directory(path);
  ASSERT_EQ(::chown(path.c_str(), owner, owner), 0);
}

// A directory of the source is served by a program that does not answer: SIGSTOP for a dead disk.
class DeadDisk {
 public:
  explicit DeadDisk(const std::filesystem::path& source, Who who = Who::kRoot)
      : below_(plan(source, who)) {}
  ~DeadDisk() { below_.signal(SIGCONT); }
  void die() const { below_.signal(SIGSTOP); }
  void revive() const { below_.signal(SIGCONT); }
  [[nodiscard]] std::filesystem::path path() const { return below_.path(); }
  [[nodiscard]] std::filesystem::path source() const { return below_.source(); }

 private:
  static MountPlan plan(const std::filesystem::path& source, Who who) {
    make_directory_of(who, source / "disk");
    // Nothing is remembered: every look at it is a request.
    return {.options = {"-o", "attr_timeout=0,entry_timeout=0,loops=1"},
            .who = who,
            .mountpoint = source / "disk"};
  }

  Mounted below_;
};

class Stuck : public ::testing::TestWithParam<Mode> {};

// One signal is polite and waits for the disk; the second one does not.
TEST_P(Stuck, SecondSignalEndsAtOnce) {
  const Who who = GetParam().who;
  OURO_REQUIRE(can_serve(GetParam()));
  const TempDir home;
  const std::filesystem::path source = home / "source";
  make_directory_of(who, source);
  const DeadDisk disk(source, who);
  make_file(disk.source() / "f", "text");
  Mounted mounted({.options = GetParam().options(), .who = who, .source = source});
  mounted.expect_exit({2, 0});
  mounted.expect_line("cannot unmount");
  mounted.expect_line("again: the connection is aborted");
  mounted.expect_line("the connection was aborted");  // if the loops hear of it in time
  disk.die();
  Process client = Process::run(who, [&] {
    static_cast<void>(::access((mounted.path() / "disk/f").c_str(), F_OK));
    return 0;
  });
  EXPECT_FALSE(client.wait(milliseconds(200))) << "nothing is stuck";
  mounted.signal(SIGTERM);
  EXPECT_TRUE(
      eventually([&] { return mounted.log().find("SIGTERM") != std::string::npos; }, seconds(5)))
      << "the signal is not heard";
  ::usleep(200'000);
  EXPECT_TRUE(mounted.running());
  mounted.signal(SIGTERM);
  EXPECT_EQ(mounted.end(Mounted::How::kWait, seconds(3)), (Exit{2, 0}));
  EXPECT_TRUE(client.wait(seconds(3))) << "its client still hangs";
  ::umount2(mounted.path().c_str(), MNT_DETACH);
  disk.revive();
}

INSTANTIATE_TEST_SUITE_P(
    , Stuck,
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 1},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1, Transport::kRing},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 1,
                           Transport::kRing}),
    [](const auto& instance) { return instance.param.name(); });

// One look that is held back parks nobody else.
TEST(HeldLookup, OthersGoOn) {
  OURO_REQUIRE(has_root());
  const TempDir home;
  const std::filesystem::path source = home / "source";
  std::filesystem::create_directory(source);
  constexpr int kFiles = 1'000;
  for (int i = 0; i < kFiles; ++i) make_file(source / std::to_string(i), "text");
  const DeadDisk disk(source);
  make_file(disk.source() / "f", "below");
  const Mode mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1};
  Mounted mounted({.options = mode.options(), .source = source});
  disk.die();
  Process held = Process::run(
      Who::kRoot, [&] { return read_file(mounted.path() / "disk/f") == "below" ? 0 : 1; });
  EXPECT_FALSE(held.wait(milliseconds(200))) << "nothing is held back";
  in_child(
      Who::kRoot,
      [&] {
        for (int i = 0; i < kFiles; ++i) {
          ASSERT_EQ(read_file(mounted.path() / std::to_string(i)), "text");
        }
      },
      seconds(20));
  EXPECT_TRUE(held.running());
  disk.revive();
  EXPECT_EQ(held.wait(seconds(5)), kExitOk);
  const Statistics statistics = mounted.statistics();
  EXPECT_GE(statistics["request.READ"], 1'000U) << statistics.text();
  EXPECT_GT(statistics["deferred"], 0U) << statistics.text();
  EXPECT_GT(statistics["pooled"], 0U) << statistics.text();
  for (const auto& complaint : disprove(mode, mounted, statistics, Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

// Clock ticks of all threads of a process.
long cpu_ticks(pid_t pid) {
  std::istringstream fields(read_file("/proc/" + std::to_string(pid) + "/stat"));
  std::string field;
  long ticks = 0;
  for (int i = 1; i <= 15 && fields >> field; ++i) {
    if (i >= 14) ticks += std::stol(field);
  }
  return ticks;
}

TEST(Idle, CostsNoCpu) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "loops=4"}});
  in_child(Who::kRoot, [&] { make_file(mounted.path() / "f", "text"); });
  const auto iterations = [&] { return mounted.statistics()["iterations"]; };
  const std::uint64_t before = iterations();
  const long ticks = cpu_ticks(mounted.pid());
  ::sleep(2);
  const long ms_per_tick = 1000 / ::sysconf(_SC_CLK_TCK);
  EXPECT_LT((cpu_ticks(mounted.pid()) - ticks) * ms_per_tick, 20);
  // The questions themselves turn each loop a few times.
  EXPECT_LT(iterations() - before, 40U);
}

}  // namespace
}  // namespace ouro::testing
