// What the counters say, once more by an independent witness: under backing=ring the program makes
// no system call that moves or syncs the data of a file.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

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

// Every thread of the process has a tracer.
bool is_traced(pid_t pid) {
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    if (read_file(task.path() / "status").find("TracerPid:\t0\n") != std::string::npos)
      return false;
  }
  return true;
}

int data_calls(const Mode& mode) {
  const TempDir home;
  const std::filesystem::path trace = home / "trace";
  Mounted mounted({.options = mode.options("direct_io")});
  // From now on: before, the dynamic linker has read libraries.
  Process strace =
      Process::start({.arguments = {"strace", "-f", "-qq", "-e", kDataCalls, "-e", "signal=none",
                                    "-o", trace, "-p", std::to_string(mounted.pid())}});
  EXPECT_TRUE(eventually([&] { return is_traced(mounted.pid()); }));
  move_data(mounted);
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
  strace.signal(SIGTERM);
  EXPECT_TRUE(strace.wait(std::chrono::seconds(10)));
  int calls = 0;
  std::istringstream lines(read_file(trace));
  for (std::string line; std::getline(lines, line);) {
    // The log goes to stderr by pwritev2() at the file's own position.
    if (line.find("(2, ") == std::string::npos) ++calls;
  }
  return calls;
}

TEST(Strace, SeesNoDataCallsOnTheRing) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(may_trace());
  EXPECT_EQ(data_calls({Who::kRoot, Backing::kRing, Metadata::kInline, 1}), 0);
  EXPECT_EQ(data_calls({Who::kRoot, Backing::kRing, Metadata::kNested, 2}), 0);
  // And it would have seen them.
  EXPECT_GT(data_calls({Who::kRoot, Backing::kInline, Metadata::kInline, 1}), 3);
}

}  // namespace
}  // namespace ouro::testing
