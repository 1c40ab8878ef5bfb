// That the daemon's own memory is on huge pages where large pieces go directly to and from a
// device, and nowhere else.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::optional<std::string> gives_huge_pages_to_who_asks() {
  const std::string words = read_file("/sys/kernel/mm/transparent_hugepage/enabled");
  if (words.find("[madvise]") != std::string::npos) return std::nullopt;
  return "the kernel gives huge pages to everybody or nobody: " + words;
}

// How much of the memory of a process is on huge pages.
std::size_t huge_bytes(pid_t pid) {
  std::istringstream lines(read_file("/proc/" + std::to_string(pid) + "/smaps_rollup"));
  for (std::string line; std::getline(lines, line);) {
    std::size_t kib = 0;
    if (std::sscanf(line.c_str(), "AnonHugePages: %zu kB", &kib) == 1) return kib << 10;
  }
  ADD_FAILURE() << "no word of huge pages";
  return 0;
}

enum class Way : std::uint8_t { kRead, kWrite };

// As much as `bytes`, in one call.
void transfer(const std::string& path, int flags, Way way, std::size_t bytes) {
  const AlignedMemory memory = aligned_memory(bytes);
  const auto data = pattern(bytes, 0);
  const UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  ASSERT_TRUE(fd) << std::strerror(errno);
  if (way == Way::kWrite) {
    std::memcpy(memory.get(), data.data(), bytes);
    EXPECT_EQ(::pwrite(fd.get(), memory.get(), bytes, 0), static_cast<ssize_t>(bytes));
  } else {
    EXPECT_EQ(::pread(fd.get(), memory.get(), bytes, 0), static_cast<ssize_t>(bytes));
    EXPECT_EQ(std::memcmp(memory.get(), data.data(), bytes), 0);
  }
}

class HugePages : public ::testing::TestWithParam<Mode> {};

TEST_P(HugePages, AreForLargeDirectTransfers) {
  const Mode& mode = GetParam();
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(can_serve(mode));
  OURO_REQUIRE(gives_huge_pages_to_who_asks());
  for (const Way way : {Way::kRead, Way::kWrite}) {
    SCOPED_TRACE(way == Way::kRead ? "reads" : "writes");
    Mounted mounted({.options = mode.options(), .who = mode.who});
    const std::string path = mounted.path() / "f";
    in_child(mode.who, [&] {
      const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      EXPECT_TRUE(write_all(fd.get(), pattern(2 * kMiB, 0), 0));
    });
    const std::size_t before = huge_bytes(mounted.pid());
    in_child(mode.who, [&] {
      for (int i = 0; i < 20; ++i) {
        transfer(path, O_RDWR, way, 2 * kMiB);
        transfer(path, O_RDWR | O_DIRECT, way, 4096);
      }
    });
    EXPECT_EQ(huge_bytes(mounted.pid()), before);
    in_child(mode.who, [&] {
      for (int i = 0; i < 20; ++i) transfer(path, O_RDWR | O_DIRECT, way, kMiB);
    });
    EXPECT_GE(huge_bytes(mounted.pid()), before + 2 * kMiB);
    for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
      ADD_FAILURE() << complaint;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Transports, HugePages,
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1, Transport::kDev},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 1, Transport::kDev},
                      Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 2, Transport::kDev},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 2, Transport::kRing}),
    [](const auto& instance) { return instance.param.name(); });

}  // namespace
}  // namespace ouro::testing
