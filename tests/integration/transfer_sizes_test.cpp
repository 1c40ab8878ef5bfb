// How much one request moves: that what the options ask for is what the kernel does, by the number
// of requests that a transfer takes.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <fstream>
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

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kPage = 4096;

// The machine's limit of the pages of a request, which is nobody else's meanwhile (of these tests),
// and is as before afterwards.
class PagesLimit {
 public:
  PagesLimit() {
    EXPECT_EQ(::flock(lock_.get(), LOCK_EX), 0);
    before_ = pages();
  }
  PagesLimit(const PagesLimit&) = delete;
  PagesLimit& operator=(const PagesLimit&) = delete;
  ~PagesLimit() {
    if (before_ != 0) set(before_);
  }

  // 0: this kernel's is fixed.
  [[nodiscard]] static unsigned pages() {
    unsigned found = 0;
    std::ifstream(kPath) >> found;
    return found;
  }
  static void set(unsigned pages) {
    std::ofstream(kPath) << pages;
    EXPECT_EQ(PagesLimit::pages(), pages);
  }
  [[nodiscard]] static std::optional<std::string> can_be_raised() {
    if (auto missing = has_root()) return missing;
    if (pages() == 0) return std::string("no ") + kPath + " (Linux 6.13)";
    return std::nullopt;
  }

 private:
  static constexpr const char* kPath = "/proc/sys/fs/fuse/max_pages_limit";
  // /proc is another one in each test's namespaces.
  UniqueFd lock_{::open("/sys/module/fuse/parameters", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  unsigned before_ = 0;
};

class LargeRequests : public ::testing::TestWithParam<Transport> {};

TEST_P(LargeRequests, MoveFourMegabytesEach) {
  OURO_REQUIRE(PagesLimit::can_be_raised());
  const Mode mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, GetParam()};
  OURO_REQUIRE(can_serve(mode));
  const PagesLimit limit;
  PagesLimit::set(256);
  constexpr std::size_t kBytes = 4 * kMiB;
  Mounted mounted({.options = mode.options("max_write=4M,raise_max_pages_limit,cache=always"),
                   .expected = {"raised /proc/sys/fs/fuse/max_pages_limit from 256 to 1024"}});
  EXPECT_EQ(PagesLimit::pages(), 1024U);
  EXPECT_EQ(mounted.served("max_write"), "4M");
  const std::string file = mounted.path() / "f";
  const auto data = pattern(kBytes, 0);
  in_child(Who::kRoot, [&] {
    const UniqueFd buffered(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    EXPECT_EQ(::pwrite(buffered.get(), data.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
  });
  EXPECT_EQ(mounted.statistics()["request.WRITE"], 1U) << "by pages";
  expect_pattern(
      read_at(UniqueFd(::open((mounted.source() / "f").c_str(), O_RDONLY)).get(), kBytes, 0), 0);
  in_child(Who::kRoot, [&] {
    const UniqueFd direct(::open(file.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    const AlignedMemory memory = aligned_memory(kBytes);
    EXPECT_EQ(::pread(direct.get(), memory.get(), kBytes, 0), static_cast<ssize_t>(kBytes));
    expect_pattern({memory.get(), kBytes}, 0);
    EXPECT_EQ(::pwrite(direct.get(), memory.get(), kBytes, kBytes), static_cast<ssize_t>(kBytes));
  });
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["request.READ"], 1U) << "direct";
  EXPECT_EQ(statistics["request.WRITE"], 2U) << "direct";
  expect_pattern(
      read_at(UniqueFd(::open((mounted.source() / "f").c_str(), O_RDONLY)).get(), kBytes, kBytes),
      0);
  for (const auto& complaint : disprove(mode, mounted, statistics, Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, LargeRequests, ::testing::Values(Transport::kDev, Transport::kRing),
                         [](const auto& instance) {
                           return instance.param == Transport::kRing ? "ByRing" : "ByChannel";
                         });

// What is refused is a line of the log, and the mount serves with what there is.
TEST(RequestsBeyondTheLimit, HaveAsMuchAsThereIs) {
  OURO_REQUIRE(PagesLimit::can_be_raised());
  const PagesLimit limit;
  PagesLimit::set(512);
  Mounted mounted({.options = {"-o", "max_write=4M"},
                   .expected = {"max_write=4M is beyond the limit of this machine; "
                                "max_write=2M is in force (as root, raise_max_pages_limit"}});
  EXPECT_EQ(PagesLimit::pages(), 512U);
  EXPECT_EQ(mounted.served("max_write"), "2M");
  const auto data = pattern(4 * kMiB, 0);
  in_child(Who::kRoot, [&] {
    const UniqueFd fd(::open((mounted.path() / "f").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    EXPECT_TRUE(write_all(fd.get(), data, 0));
  });
  EXPECT_EQ(mounted.statistics()["request.WRITE"], 2U);
}

TEST(RequestsBeyondTheLimit, OfAPlainUserDoNotRaiseIt) {
  OURO_REQUIRE(PagesLimit::can_be_raised());
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  const PagesLimit limit;
  PagesLimit::set(256);
  Mounted mounted({.options = {"-o", "max_write=4M,raise_max_pages_limit"},
                   .who = Who::kPlainUser,
                   .expected = {"max_write=1M is in force (cannot raise "
                                "/proc/sys/fs/fuse/max_pages_limit: Permission denied)"}});
  EXPECT_EQ(PagesLimit::pages(), 256U);
  EXPECT_EQ(mounted.served("max_write"), "1M");
}

// What the kernel itself says of a mount, in KiB.
unsigned read_ahead_kib(const Mounted& mounted) {
  unsigned kib = ~0U;
  std::ifstream("/sys/class/bdi/" + device_of_mount(mounted.path()) + "/read_ahead_kb") >> kib;
  return kib;
}

// A file of 4 MiB, read page by page from its beginning to its end.
std::uint64_t requests_of_reading(Mounted& mounted) {
  constexpr std::size_t kBytes = 4 * kMiB;
  const auto data = pattern(kBytes, 0);
  make_file(mounted.source() / "f", {data.data(), data.size()});
  in_child(Who::kRoot, [&] {
    const UniqueFd fd(::open((mounted.path() / "f").c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<char> read;
    std::array<char, kPage> page;
    while (::read(fd.get(), page.data(), kPage) == ssize_t{kPage}) {
      read.insert(read.end(), page.begin(), page.end());
    }
    EXPECT_EQ(read.size(), kBytes);
    expect_pattern(read, 0);
  });
  return mounted.statistics()["request.READ"];
}

struct ReadAheadOf {
  const char* option;
  unsigned kib;
  std::uint64_t least_requests;
  std::uint64_t most_requests;
};

class ReadAhead : public ::testing::TestWithParam<ReadAheadOf> {};

TEST_P(ReadAhead, IsAsFarAsThat) {
  OURO_REQUIRE(has_root());
  const ReadAheadOf& expected = GetParam();
  Mounted mounted({.options = {"-o", std::string("max_readahead=") + expected.option}});
  EXPECT_EQ(mounted.served("max_readahead"), expected.option);
  EXPECT_EQ(read_ahead_kib(mounted), expected.kib);
  const std::uint64_t requests = requests_of_reading(mounted);
  EXPECT_GE(requests, expected.least_requests);
  EXPECT_LE(requests, expected.most_requests);
}

// 4 MiB take as many requests as that goes into it, and a few while it grows to its full length.
INSTANTIATE_TEST_SUITE_P(, ReadAhead,
                         ::testing::Values(ReadAheadOf{"0", 0, 1024, 1024},
                                           ReadAheadOf{"32K", 32, 128, 140},
                                           ReadAheadOf{"128K", 128, 32, 45},
                                           ReadAheadOf{"1M", 1024, 4, 12}),
                         [](const auto& instance) { return instance.param.option; });

TEST(ReadAheadOfAPlainUser, IsNoMoreThanTheKernelOffers) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  Mounted mounted({.options = {"-o", "max_readahead=1M"},
                   .who = Who::kPlainUser,
                   .expected = {"cannot set max_readahead=1M: Permission denied; "
                                "max_readahead=128K is in force"}});
  EXPECT_EQ(mounted.served("max_readahead"), "128K");
  Mounted less({.options = {"-o", "max_readahead=64K"}, .who = Who::kPlainUser});
  EXPECT_EQ(less.served("max_readahead"), "64K");
}

}  // namespace
}  // namespace ouro::testing
