// What the kernel may cache must not change what is read and written: data, mappings and space in
// every cache mode, and what each of them promises about changes behind the mount.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

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

// Of the source, whatever it was before: long ago, so that relatime moves it at the next read.
void age_atime(const std::filesystem::path& path) {
  const timespec times[] = {{946'684'800, 0}, {0, UTIME_OMIT}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

timespec atime_of(const std::filesystem::path& path) {
  struct ::stat stat {};
  EXPECT_EQ(::lstat(path.c_str(), &stat), 0);
  return stat.st_atim;
}

// Where a native read must move the access time, so must a read through the mount; a second one,
// which need not, must not. Asked of the source, so that no cache can answer.
void expect_atime_moves(const Mounted& mounted, const std::string& name,
                        const std::function<void(const std::filesystem::path&)>& look) {
  SCOPED_TRACE(name);
  const auto expect_like_native = [&](const std::filesystem::path& original,
                                      const std::filesystem::path& seen) {
    age_atime(original);
    const timespec before = atime_of(original);
    EXPECT_EQ(before.tv_sec, 946'684'800);
    in_child(Who::kRoot, [&] { look(seen); });
    const timespec moved = atime_of(original);
    EXPECT_GT(moved.tv_sec, before.tv_sec) << original << " looked at as " << seen;
    ::usleep(20'000);
    in_child(Who::kRoot, [&] { look(seen); });
    EXPECT_EQ(atime_of(original).tv_nsec, moved.tv_nsec) << original << " looked at as " << seen;
  };
  expect_like_native(mounted.native() / name, mounted.native() / name);
  expect_like_native(mounted.source() / name, mounted.path() / name);
}

TEST(CacheNever, MovesAccessTimesOfTheSource) {
  OURO_REQUIRE(has_root());
  for (const char* metadata : {"metadata=inline", "metadata=nested"}) {
    Mounted mounted({.options = {"-o", std::string("cache=never,") + metadata}});
    for (const std::filesystem::path& home : {mounted.native(), mounted.source()}) {
      make_file(home / "f", "text");
      std::filesystem::create_directory(home / "d");
      make_file(home / "d/entry");
      std::filesystem::create_symlink("target", home / "l");
    }
    expect_atime_moves(mounted, "f", [](const auto& path) { EXPECT_EQ(read_file(path), "text"); });
    expect_atime_moves(mounted, "d", [](const auto& path) {
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path), {}), 1);
    });
    expect_atime_moves(mounted, "l", [](const auto& path) {
      EXPECT_EQ(std::filesystem::read_symlink(path), "target");
    });

    // A change of the content makes the next read move it again.
    const timespec before = atime_of(mounted.source() / "f");
    ::usleep(20'000);
    append_to(mounted.source() / "f", " and more");
    expect_through(mounted, "f", "text and more");
    const timespec after = atime_of(mounted.source() / "f");
    EXPECT_TRUE(after.tv_sec > before.tv_sec || after.tv_nsec > before.tv_nsec);
  }
}

// The first read of what the kernel has not cached reaches the source in the default mode, too.
TEST(CacheAuto, MovesAccessTimesOfTheSource) {
  OURO_REQUIRE(has_root());
  Mounted mounted;
  make_file(mounted.source() / "f", "text");
  age_atime(mounted.source() / "f");
  expect_through(mounted, "f", "text");
  EXPECT_GT(atime_of(mounted.source() / "f").tv_sec, 946'684'800);
}

TEST(CacheNever, LeavesAccessTimesAloneWithNoatime) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=never,noatime"}});
  make_file(mounted.source() / "f", "text");
  std::filesystem::create_directory(mounted.source() / "d");
  std::filesystem::create_symlink("target", mounted.source() / "l");
  for (const char* name : {"f", "d", "l"}) age_atime(mounted.source() / name);
  expect_through(mounted, "f", "text");
  in_child(Who::kRoot, [&] {
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(mounted.path() / "d"), {}), 0);
    EXPECT_EQ(std::filesystem::read_symlink(mounted.path() / "l"), "target");
  });
  for (const char* name : {"f", "d", "l"}) {
    EXPECT_EQ(atime_of(mounted.source() / name).tv_sec, 946'684'800) << name;
  }
}

// The client has it set the flags and then knows nothing of the time of the change.
TEST(CacheAlways, ShowsTheTimeOfAChangeOfFlags) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=always"}});
  for (const std::filesystem::path& home : {mounted.native(), mounted.source()}) {
    make_file(home / "f");
    std::filesystem::create_directory(home / "d");
  }
  const auto moves = [](const std::filesystem::path& path) {
    const auto ctime_of = [&] {
      struct ::stat stat {};
      EXPECT_EQ(::lstat(path.c_str(), &stat), 0);
      return std::pair(stat.st_ctim.tv_sec, stat.st_ctim.tv_nsec);
    };
    const auto before = ctime_of();
    ::usleep(20'000);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    EXPECT_EQ(::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags), 0) << path;
    flags |= FS_NODUMP_FL;
    EXPECT_EQ(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags), 0) << path;
    return ctime_of() > before;
  };
  for (const char* name : {"f", "d"}) {
    EXPECT_TRUE(moves(mounted.native() / name)) << name;
    in_child(Who::kRoot, [&] { EXPECT_TRUE(moves(mounted.path() / name)) << name; });
  }
}

// Asks for the mode alone, which the client may have.
mode_t mode_of(const std::filesystem::path& path) {
  struct ::statx stat {};
  EXPECT_EQ(::statx(AT_FDCWD, path.c_str(), 0, STATX_MODE, &stat), 0) << path;
  return stat.stx_mode & 07777U;
}

TEST(CacheAlways, ShowsLostSetIdBitsAtOnce) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "cache=always,allow_other"}});
  alignas(4096) static const std::array<char, 4096> block{};
  const auto write_with = [](int flags) {
    return [flags](const std::filesystem::path& path) {
      const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags));
      EXPECT_EQ(::write(fd.get(), block.data(), block.size()), 4096) << flags;
    };
  };
  const std::vector<std::pair<const char*, std::function<void(const std::filesystem::path&)>>>
      changes = {{"write", write_with(0)},
                 {"direct", write_with(O_DIRECT)},
                 {"fallocate",
                  [](const auto& path) {
                    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
                    EXPECT_EQ(::fallocate(fd.get(), 0, 0, 8192), 0);
                  }},
                 {"truncate",
                  [](const auto& path) { UniqueFd(::open(path.c_str(), O_WRONLY | O_TRUNC)); }},
                 {"copy", [](const auto& path) {
                    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
                    off64_t to = 4096;
                    off64_t from = 0;
                    EXPECT_GT(::copy_file_range(fd.get(), &from, fd.get(), &to, 4, 0), 0);
                  }}};
  for (const auto& [name, change] : changes) {
    make_file(mounted.source() / name, "text");
    ASSERT_EQ(::chmod((mounted.source() / name).c_str(), 06777), 0);
    const auto seen = mounted.path() / name;
    in_child(Who::kPlainUser, [&, &change = change, name = name] {
      EXPECT_EQ(mode_of(seen), 06777U) << name;
      change(seen);
      EXPECT_EQ(mode_of(seen), 0777U) << name;
    });
  }
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
