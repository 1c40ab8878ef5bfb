// Where io_uring is refused, as by the seccomp profile of a container, the mount serves all the
// same: by system calls, which one line says and the statistics show.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

constexpr const char* kNotice = "io_uring cannot be used";

// For this process and all that become of it. Root needs no NO_NEW_PRIVS for that, so a plain
// user's fusermount3 goes on being set-uid.
void refuse_io_uring() {
  sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, __NR_io_uring_setup},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    std::perror("seccomp");
    ::_exit(1);
  }
}

std::vector<std::string> lines_with(const std::string& text, const std::string& part) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(part) != std::string::npos) found.push_back(line);
  }
  return found;
}

class WithoutIoUring : public ::testing::TestWithParam<Mode> {};

TEST_P(WithoutIoUring, Serves) {
  const Mode& mode = GetParam();
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(can_serve(mode));
  Mounted mounted({.options = mode.options("direct_io"),
                   .who = mode.who,
                   .expected = {kNotice},
                   .before_exec = refuse_io_uring});
  in_child(mode.who, [&] {
    // Not aligned to anything, and of many requests.
    const auto data = pattern(3'000'001, 0);
    const std::string directory = mounted.path() / "d";
    ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0);
    {
      const loop::UniqueFd fd(::open((directory + "/f").c_str(), O_WRONLY | O_CREAT, 0644));
      ASSERT_TRUE(fd);
      ASSERT_TRUE(write_all(fd.get(), data, 0));
      EXPECT_EQ(::fsync(fd.get()), 0);
    }
    ASSERT_EQ(::rename((directory + "/f").c_str(), (directory + "/g").c_str()), 0);
    const loop::UniqueFd back(::open((directory + "/g").c_str(), O_RDONLY));
    ASSERT_TRUE(back);
    EXPECT_EQ(read_at(back.get(), data.size() + 1, 0), data);
  });

  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics.loops(), mode.loops);
  EXPECT_GT(statistics["request.READ"], 0U) << statistics.text();
  EXPECT_GE(statistics["inline_data"],
            statistics["request.READ"] + statistics["request.WRITE"] + statistics["request.FSYNC"])
      << statistics.text();
  for (const char* counter : {"enters", "nested_waits", "cqe.read", "cqe.write", "cqe.openat2",
                              "cqe.statx", "cqe.poll_add"}) {
    EXPECT_EQ(statistics[counter], 0U) << counter << " in " << statistics.text();
  }
  const std::string log = mounted.log();
  EXPECT_EQ(lines_with(log, kNotice).size(), 1U) << log;
  EXPECT_EQ(lines_with(log, "serving ").size(), 1U) << log;
  for (const std::string& line : lines_with(log, "serving ")) {
    EXPECT_NE(line.find(" backing=inline metadata=inline "), std::string::npos) << line;
  }
  for (const std::string& line : lines_with(log, "statistics: ")) {
    EXPECT_NE(line.find(" backing=inline metadata=inline "), std::string::npos) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(, WithoutIoUring,
                         ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 2},
                                           Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 1},
                                           Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline,
                                                2}),
                         [](const auto& instance) { return instance.param.name(); });

}  // namespace
}  // namespace ouro::testing
