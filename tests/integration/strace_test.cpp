// What the counters say, once more by an independent witness: under backing=ring the program makes
// no system call that moves or syncs the data of a file, and under metadata=nested none of those
// that the ring has for names and attributes.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

constexpr const char* kDataCalls =
    "trace=pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,fsync,fdatasync,sync_file_range";
// All that have an SQE form since Linux 5.19.
constexpr const char* kMetadataCalls =
    "trace=openat2,statx,mkdirat,unlinkat,renameat,renameat2,linkat,symlinkat,setxattr,getxattr";

std::optional<std::string> may_trace() {
  if (auto missing = has_program("strace")) return missing;
  const Output output = run_command({.arguments = {"strace", "-qq", "-e", "trace=none", "true"}});
  if (output.exit != kExitOk) return "ptrace is not permitted here: " + output.text;
  return std::nullopt;
}

void move_data(const Mounted& mounted) {
  in_child(Who::kRoot, [&] {
    const loop::UniqueFd fd(::open((mounted.path() / "f").c_str(), O_RDWR | O_CREAT, 0644));
    const auto data = pattern(3'000'000, 0);
    ASSERT_TRUE(write_all(fd.get(), data, 1));
    ASSERT_EQ(::fsync(fd.get()), 0);
    ASSERT_EQ(::fdatasync(fd.get()), 0);
    const loop::UniqueFd direct(::open((mounted.path() / "f").c_str(), O_RDONLY | O_DIRECT));
    ASSERT_TRUE(direct);
    const loop::UniqueFd again(::open((mounted.path() / "f").c_str(), O_RDONLY));
    EXPECT_EQ(read_at(again.get(), data.size(), 1), data);
  });
}

// Each kind of request that has a form on the ring, with one that fails among them.
void change_names(const Mounted& mounted) {
  in_child(Who::kRoot, [&] {
    ASSERT_EQ(::chdir(mounted.path().c_str()), 0);
    // With a umask, the default ACL of a directory is asked for by a system call.
    ::umask(0);
    struct ::stat stat {};
    EXPECT_LT(::lstat("d", &stat), 0);
    ASSERT_EQ(::mkdir("d", 0755), 0);
    make_file("d/f", "text");
    EXPECT_EQ(::lstat("d/f", &stat), 0);
    EXPECT_EQ(read_file("d/f"), "text");
    EXPECT_EQ(::link("d/f", "d/linked"), 0);
    EXPECT_EQ(::rename("d/f", "d/renamed"), 0);
    EXPECT_EQ(::symlink("renamed", "d/symlink"), 0);
    EXPECT_EQ(::renameat2(AT_FDCWD, "d/linked", AT_FDCWD, "d/symlink", RENAME_EXCHANGE), 0);
    EXPECT_EQ(::setxattr("d/renamed", "trusted.ouro", "value", 5, 0), 0);
    char value[8];
    EXPECT_EQ(::getxattr("d/renamed", "trusted.ouro", value, sizeof value), 5);
    for (const char* name : {"d/renamed", "d/linked", "d/symlink"}) EXPECT_EQ(::unlink(name), 0);
    EXPECT_EQ(::rmdir("d"), 0);
  });
}

// Every thread of the process has a tracer.
bool is_traced(pid_t pid) {
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    if (read_file(task.path() / "status").find("TracerPid:\t0\n") != std::string::npos)
      return false;
  }
  return true;
}

// The system calls of that filter which the program made during the work.
std::string traced_calls(const Mode& mode, const char* filter, void (*work)(const Mounted&)) {
  const TempDir home;
  const std::filesystem::path trace = home / "trace";
  Mounted mounted({.options = mode.options("direct_io")});
  // From now on: before, the dynamic linker has read libraries.
  Process strace =
      Process::start({.arguments = {"strace", "-f", "-qq", "-e", filter, "-e", "signal=none", "-o",
                                    trace, "-p", std::to_string(mounted.pid())}});
  EXPECT_TRUE(eventually([&] { return is_traced(mounted.pid()); }));
  work(mounted);
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
  strace.signal(SIGTERM);
  EXPECT_TRUE(strace.wait(std::chrono::seconds(10)));
  std::string calls;
  std::istringstream lines(read_file(trace));
  for (std::string line; std::getline(lines, line);) {
    // The log goes to stderr by pwritev2() at the file's own position.
    if (line.find("(2, ") == std::string::npos) calls += line + "\n";
  }
  return calls;
}

TEST(Strace, SeesNoDataCallsOnTheRing) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(may_trace());
  const auto data_calls = [](const Mode& mode) {
    return traced_calls(mode, kDataCalls, move_data);
  };
  EXPECT_EQ(data_calls({Who::kRoot, Backing::kRing, Metadata::kInline, 1}), "");
  EXPECT_EQ(data_calls({Who::kRoot, Backing::kRing, Metadata::kNested, 2}), "");
  // And it would have seen them.
  const std::string seen = data_calls({Who::kRoot, Backing::kInline, Metadata::kInline, 1});
  EXPECT_GT(std::ranges::count(seen, '\n'), 3) << seen;
}

TEST(Strace, SeesNoMetadataCallsOnTheRing) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(may_trace());
  const auto metadata_calls = [](const Mode& mode) {
    return traced_calls(mode, kMetadataCalls, change_names);
  };
  EXPECT_EQ(metadata_calls({Who::kRoot, Backing::kRing, Metadata::kNested, 2}), "");
  EXPECT_EQ(metadata_calls({Who::kRoot, Backing::kInline, Metadata::kNested, 1}), "");
  // And it would have seen each of them.
  const std::string seen = metadata_calls({Who::kRoot, Backing::kRing, Metadata::kInline, 1});
  for (const char* call : {"openat2(", "statx(", "mkdirat(", "unlinkat(", "renameat(", "renameat2(",
                           "linkat(", "symlinkat(", "setxattr(", "getxattr("}) {
    EXPECT_NE(seen.find(call), std::string::npos) << call << " in\n" << seen;
  }
}

}  // namespace
}  // namespace ouro::testing
