// What the kernel may cache must not change what is read and written: data, mappings and space in
// every cache mode, and what each of them promises about changes behind the mount.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

// KERNEL: with write-back, the client takes a write at any offset, and hears only later that the
// file system has no such offset; and it asks the server for SEEK_DATA without writing back first.
std::vector<Case> without_known_differences(std::vector<Case> cases, const std::string& option) {
  if (option.find("writeback") == std::string::npos) return cases;
  std::erase_if(cases, [](const Case& one) {
    const std::string name = one.name;
    return name == "far-offsets" || name == "freshly-written";
  });
  return cases;
}

class Cache : public ::testing::TestWithParam<std::tuple<Mode, const char*>> {};

TEST_P(Cache, KeepsTheTruth) {
  const auto& [mode, option] = GetParam();
  OURO_REQUIRE(can_mount_as(mode.who));
  Mounted mounted({.options = mode.options(option), .who = mode.who});
  compare_with_native(mounted, without_known_differences(data_cases(), option));
  compare_with_native(mounted, mapping_cases());
  compare_with_native(mounted, without_known_differences(space_cases(), option));
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kData)) {
    ADD_FAILURE() << complaint;
  }
}

constexpr Mode kRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
#if OURO_SANITIZED
const auto kModes = ::testing::Values(kRing);
#else
constexpr Mode kInline{Who::kPlainUser, Backing::kInline, Metadata::kNested, 1};
const auto kModes = ::testing::Values(kRing, kInline);
#endif

INSTANTIATE_TEST_SUITE_P(
    , Cache,
    ::testing::Combine(kModes, ::testing::Values("cache=never", "cache=metadata", "cache=always",
                                                 "writeback", "direct_io", "writeback,cache=always",
                                                 "max_write=4K", "attr_timeout=0,entry_timeout=0")),
    [](const auto& instance) {
      std::string name = std::get<0>(instance.param).name() + "_" + std::get<1>(instance.param);
      std::ranges::replace_if(
          name, [](char c) { return !std::isalnum(c); }, '_');
      return name;
    });

void expect_through(const Mounted& mounted, const std::string& name, const std::string& content) {
  in_child(mounted.who(), [&] { EXPECT_EQ(read_file(mounted.path() / name), content); });
}

// With cache=never the next look shows what happened behind the mount.
TEST(CacheNever, ShowsForeignChangesAtOnce) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=never"}});
  make_file(mounted.source() / "f", "first");
  expect_through(mounted, "f", "first");
  append_to(mounted.source() / "f", " and second");
  expect_through(mounted, "f", "first and second");
  std::filesystem::rename(mounted.source() / "f", mounted.source() / "g");
  in_child(Who::kRoot, [&] {
    EXPECT_FALSE(std::filesystem::exists(mounted.path() / "f"));
    EXPECT_TRUE(std::filesystem::exists(mounted.path() / "g"));
  });
}

// With cache=auto a file that is opened anew after a second shows its new content, even when its
// size is the old one.
TEST(CacheAuto, ShowsForeignChangesSoon) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=auto"}});
  make_file(mounted.source() / "f", "first");
  expect_through(mounted, "f", "first");
  ::usleep(20'000);  // another tick of mtime
  {
    const UniqueFd file(::open((mounted.source() / "f").c_str(), O_WRONLY));
    EXPECT_EQ(::pwrite(file.get(), "SECON", 5, 0), 5);
  }
  ::sleep(1);
  in_child(Who::kRoot, [&] {
    EXPECT_TRUE(eventually([&] { return read_file(mounted.path() / "f") == "SECON"; },
                           std::chrono::seconds(3)));
  });
}

// With cache=always the kernel answers alone: no request per read of what it knows.
TEST(CacheAlways, AsksOnlyOnce) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=always,loops=1"}});
  make_file(mounted.source() / "f", "text");
  for (int i = 0; i < 20; ++i) expect_through(mounted, "f", "text");
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["request.READ"], 1U) << statistics.text();
  EXPECT_LE(statistics["request.LOOKUP"], 2U) << statistics.text();
}

}  // namespace
}  // namespace ouro::testing
