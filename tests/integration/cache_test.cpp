// What the kernel may cache must not change what is read and written: data, mappings and space in
// every cache mode, and what each of them promises about changes behind the mount.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/integration/shared_memory.hpp"

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

// The cache that the options name, or the default, must be at work.
void expect_cache(const Mounted& mounted, std::string_view option) {
  constexpr std::string_view kCache = "cache=";
  const auto at = option.find(kCache);
  EXPECT_EQ(mounted.served("cache"),
            at == std::string_view::npos ? "auto" : option.substr(at + kCache.size()));
  const bool writeback = option.find("writeback") != std::string_view::npos;
  EXPECT_EQ(mounted.served("writeback"), writeback ? "on" : "off");
}

class Cache : public ::testing::TestWithParam<std::tuple<Mode, const char*>> {};

TEST_P(Cache, KeepsTheTruth) {
  const auto& [mode, option] = GetParam();
  OURO_REQUIRE(can_serve(mode));
  Mounted mounted({.options = mode.options(option), .who = mode.who});
  expect_cache(mounted, option);
  compare_with_native(mounted, without_known_differences(data_cases(), option));
  compare_with_native(mounted, mapping_cases());
  compare_with_native(mounted, without_known_differences(space_cases(), option));
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kData)) {
    ADD_FAILURE() << complaint;
  }
}

constexpr Mode kRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
constexpr Mode kKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};
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

// Where the kernel has the files, of what is cached only names and attributes are left.
INSTANTIATE_TEST_SUITE_P(Kernel, Cache,
                         ::testing::Combine(::testing::Values(kKernel),
                                            ::testing::Values("cache=never", "cache=metadata",
                                                              "cache=always", "direct_io",
                                                              "attr_timeout=0,entry_timeout=0")),
                         [](const auto& instance) {
                           std::string name = std::get<1>(instance.param);
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
  for (const char* metadata : {"metadata=auto", "metadata=inline", "metadata=nested"}) {
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

// The file of the source, and of the mount after one read of it, so that its page is cached.
struct CachedFile {
  explicit CachedFile(const Mounted& mounted, const char* content)
      : native_path(mounted.source() / "f"), path(mounted.path() / "f") {
    make_file(native_path, content);
    native = UniqueFd(::open(native_path.c_str(), O_RDWR | O_CLOEXEC));
    ::usleep(20'000);  // another tick of mtime
  }
  // In a child: opens it and reads it once.
  void cache(const std::string& content) {
    fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd);
    ASSERT_EQ(text(content.size()), content);
  }
  [[nodiscard]] std::string text(std::size_t bytes, off_t offset = 0) const {
    const std::vector<char> read = read_at(fd.get(), bytes, offset);
    return {read.begin(), read.end()};
  }
  void write_natively(std::string_view text, off_t offset = 0) const {
    EXPECT_EQ(::pwrite(native.get(), text.data(), text.size(), offset),
              static_cast<ssize_t>(text.size()));
  }

  std::filesystem::path native_path;
  std::filesystem::path path;
  UniqueFd native;
  UniqueFd fd;
};

// Who reads on in an open file, and asks for nothing else, sees them within the attributes' time.
TEST(CacheAuto, ShowsForeignChangesToWhoReadsOn) {
  OURO_REQUIRE(has_root());
  Mounted mounted;
  CachedFile file(mounted, "first");
  in_child(Who::kRoot, [&] {
    file.cache("first");
    file.write_natively("SECON");
    EXPECT_TRUE(eventually([&] { return file.text(5) == "SECON"; }, std::chrono::seconds(3)));
  });
}

// An opening alone begins the watch, although nothing that it leads to is asked of us.
TEST(CacheAuto, ShowsForeignChangesToWhoReadsWhatWasKept) {
  OURO_REQUIRE(has_root());
  for (const char* options : {"loops=1,metadata=inline", "loops=1,metadata=auto"}) {
    SCOPED_TRACE(options);
    Mounted mounted({.options = {"-o", options}});
    CachedFile file(mounted, "first");
    in_child(Who::kRoot, [&] {
      file.cache("first");
      file.fd.reset();
      ::sleep(3);  // until nobody watches
      file.fd = UniqueFd(::open(file.path.c_str(), O_RDWR | O_CLOEXEC));
      EXPECT_EQ(file.text(5), "first");
      file.write_natively("SECON");
      EXPECT_TRUE(eventually([&] { return file.text(5) == "SECON"; }, std::chrono::seconds(3)));
    });
  }
}

TEST(CacheAuto, ShowsForeignChangesBetweenItsOwn) {
  OURO_REQUIRE(has_root());
  Mounted mounted;
  CachedFile file(mounted, "...");
  in_child(Who::kRoot, [&] {
    file.cache("...");
    EXPECT_EQ(::pwrite(file.fd.get(), "1", 1, 0), 1);
    ::usleep(20'000);
    file.write_natively("2", 1);
    ::usleep(20'000);
    EXPECT_EQ(::pwrite(file.fd.get(), "3", 1, 2), 1);
    EXPECT_TRUE(eventually([&] { return file.text(3) == "123"; }, std::chrono::seconds(3)));
  });
}

// Whoever has been shown the new time reads the new content.
TEST(CacheAuto, ShowsForeignChangesNoLaterThanTheirTime) {
  OURO_REQUIRE(has_root());
  for (const char* options :
       {"metadata=auto", "metadata=inline", "metadata=nested", "attr_timeout=0"}) {
    SCOPED_TRACE(options);
    Mounted mounted({.options = {"-o", options}});
    CachedFile file(mounted, "000");
    in_child(Who::kRoot, [&] {
      file.cache("000");
      for (int i = 1; i < 6; ++i) {
        const auto mtime = [&] {
          struct ::stat stat {};
          // By name and by handle: a LOOKUP, a GETATTR.
          EXPECT_EQ(i % 2 == 0 ? ::lstat(file.path.c_str(), &stat) : ::fstat(file.fd.get(), &stat),
                    0);
          return std::pair(stat.st_mtim.tv_sec, stat.st_mtim.tv_nsec);
        };
        const auto before = mtime();
        const std::string text = std::to_string(100 + i);
        file.write_natively(text);
        EXPECT_TRUE(eventually([&] { return mtime() != before; }, std::chrono::seconds(3)));
        EXPECT_EQ(file.text(3), text);
        ::usleep(20'000);
      }
    });
  }
}

// What others append to a page that is cached is never seen as the zeros that the page ended with.
TEST(CacheAuto, ShowsWhatOthersAppend) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "attr_timeout=0"}});
  CachedFile file(mounted, "0");
  in_child(Who::kRoot, [&] {
    file.cache("0");
    for (int i = 1; i < 200; ++i) {
      // By turns, so that there is a change of ours before each of theirs.
      const char digit = static_cast<char>('0' + i % 10);
      if (i % 3 == 0) {
        EXPECT_EQ(::pwrite(file.fd.get(), &digit, 1, i), 1);
      } else {
        file.write_natively({&digit, 1}, i);
      }
      std::string text;
      EXPECT_TRUE(eventually(
          [&] {
            text = file.text(1000);
            return text.size() == static_cast<std::size_t>(i) + 1;
          },
          std::chrono::seconds(3)))
          << i;
      for (std::size_t at = 0; at < text.size(); ++at) {
        ASSERT_EQ(text[at], static_cast<char>('0' + at % 10)) << at << " of " << i;
      }
    }
  });
}

// What comes through the mount costs no page: the client knows of it.
TEST(CacheAuto, KeepsPagesThroughChangesOfItsOwn) {
  OURO_REQUIRE(has_root());
  for (const char* options : {"attr_timeout=0,entry_timeout=0,backing=ring",
                              "attr_timeout=0,entry_timeout=0,backing=inline",
                              "attr_timeout=0,entry_timeout=0,metadata=nested"}) {
    SCOPED_TRACE(options);
    Mounted mounted({.options = {"-o", options}});
    constexpr std::size_t kBytes = 64 * 1024;
    make_file(mounted.source() / "f", std::string(kBytes, 'a'));
    in_child(Who::kRoot, [&] {
      const auto path = mounted.path() / "f";
      const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      EXPECT_EQ(read_at(fd.get(), kBytes, 0).size(), kBytes);
      for (int i = 0; i < 50; ++i) {
        const char letter = static_cast<char>('b' + i % 20);
        EXPECT_EQ(::pwrite(fd.get(), &letter, 1, i * 1000), 1);
        struct ::stat stat {};
        EXPECT_EQ(::fstat(fd.get(), &stat), 0);
        EXPECT_EQ(::lstat(path.c_str(), &stat), 0);
        const UniqueFd again(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        EXPECT_EQ(read_at(again.get(), 1, i * 1000), std::vector<char>{letter});
        EXPECT_EQ(read_at(fd.get(), kBytes, 0).size(), kBytes);
      }
    });
    const Statistics statistics = mounted.statistics();
    EXPECT_EQ(statistics["request.WRITE"], 50U) << statistics.text();
    EXPECT_LE(statistics["request.READ"], 2U) << statistics.text();
    EXPECT_GE(statistics["request.OPEN"], 51U) << statistics.text();
  }
}

// Writes at once, or by io_submit(), which ends later.
enum class Writing : std::uint8_t { kAtOnce, kLater };

ssize_t write_page(Writing how, int fd, std::span<const std::byte> page, off_t offset) {
  if (how == Writing::kAtOnce) return ::pwrite(fd, page.data(), page.size(), offset);
  static const aio_context_t context = [] {
    aio_context_t made = 0;
    EXPECT_EQ(::syscall(SYS_io_setup, 1, &made), 0);
    return made;
  }();
  iocb request{};
  request.aio_lio_opcode = IOCB_CMD_PWRITE;
  request.aio_fildes = static_cast<std::uint32_t>(fd);
  request.aio_buf = reinterpret_cast<std::uintptr_t>(page.data());
  request.aio_nbytes = page.size();
  request.aio_offset = offset;
  iocb* const requests[] = {&request};
  if (::syscall(SYS_io_submit, context, 1, requests) != 1) return -1;
  io_event event{};
  if (::syscall(SYS_io_getevents, context, 1, 1, &event, nullptr) != 1) return -1;
  return static_cast<ssize_t>(event.res);
}

// A read that begins after a write has ended sees it, however many others read and open the file,
// and however it is written.
class ReadersSeeWrites
    : public ::testing::TestWithParam<std::tuple<const char*, int, Writing, const char*>> {};

TEST_P(ReadersSeeWrites, WhenTheyHaveEnded) {
  OURO_REQUIRE(has_root());
  const auto& [cache, write_flags, how, name] = GetParam();
  for (const char* options : {"loops=1", "loops=2", "loops=2,backing=inline"}) {
    SCOPED_TRACE(options);
    Mounted mounted({.options = {"-o", std::string(options) + "," + cache}});
    constexpr int kPages = 64;
    constexpr int kReaders = 3;
    struct alignas(4096) Page : std::array<std::uint64_t, 512> {};
    struct Shared {
      std::array<std::atomic<std::uint64_t>, kPages> written;  // the last number that has been
      std::atomic<std::uint64_t> writes;
      std::atomic<std::uint64_t> reads;
      std::atomic<std::uint64_t> stale;
      std::atomic<bool> end;
    };
    const SharedMemory<Shared> shared;
    make_file(mounted.source() / "f", std::string(kPages * sizeof(Page), '\0'));
    const auto path = mounted.path() / "f";
    const auto page_of = [](std::uint64_t i) { return static_cast<std::size_t>(i * 7 % kPages); };
    std::vector<pid_t> readers;
    for (int reader = 0; reader < kReaders; ++reader) {
      readers.push_back(::fork());
      if (readers.back() != 0) continue;
      UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      Page page;
      for (std::uint64_t i = static_cast<std::uint64_t>(reader); !shared->end; ++i) {
        if (i % 100 == 0) ::usleep(50);  // the daemon has work to do as well
        if (i % 1000 == 0) fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        const std::size_t at = page_of(i * 11);
        const std::uint64_t written = shared->written[at];
        const auto offset = static_cast<off_t>(at * sizeof page);
        const bool whole = ::pread(fd.get(), page.data(), sizeof page, offset) == sizeof page;
        if (!whole || page.front() < written || page.back() < written) ++shared->stale;
        ++shared->reads;
      }
      ::_exit(0);
    }
    in_child(Who::kRoot, [&] {
      const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | write_flags));
      const auto begun = std::chrono::steady_clock::now();
      const auto going_on = [&](std::uint64_t writes) {
        const auto now = std::chrono::steady_clock::now();
        return now < begun + std::chrono::seconds(writes < 200 ? 10 : 1);
      };
      Page page;
      for (std::uint64_t i = 0; going_on(i); ++i) {
        const std::size_t at = page_of(i);
        page.fill(shared->written[at] + 1);
        const auto offset = static_cast<off_t>(at * sizeof page);
        EXPECT_EQ(write_page(how, fd.get(), std::as_bytes(std::span(page)), offset),
                  ssize_t{sizeof page});
        ++shared->written[at];
        ++shared->writes;
      }
    });
    shared->end = true;
    for (const pid_t reader : readers) ::waitpid(reader, nullptr, 0);
    EXPECT_EQ(shared->stale, 0U) << "of " << shared->reads << " reads";
    EXPECT_GT(shared->writes, 20U);
    EXPECT_GT(shared->reads, 1000U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , ReadersSeeWrites,
    ::testing::Values(std::tuple("cache=auto", 0, Writing::kAtOnce, "CachedWrites"),
                      std::tuple("cache=auto", O_DIRECT, Writing::kAtOnce, "DirectWrites"),
                      std::tuple("cache=auto", O_DIRECT, Writing::kLater, "SubmittedWrites"),
                      std::tuple("cache=always", O_DIRECT, Writing::kLater,
                                 "SubmittedWritesAlways")),
    [](const auto& instance) { return std::get<3>(instance.param); });

// Whether a write is direct and whether its request says so are two looks of the kernel at a flag
// that somebody else may change meanwhile: the request of one by pages, which are locked until it
// is answered, can say O_DIRECT.
TEST(DirectWrites, MayBeTurnedOnAndOffMeanwhile) {
  OURO_REQUIRE(has_root());
  for (const char* options : {"cache=auto", "cache=always", "cache=auto,backing=inline"}) {
    SCOPED_TRACE(options);
    Mounted mounted({.options = {"-o", options}});
    const auto path = mounted.path() / "f";
    const SharedMemory<std::atomic<bool>> end;
    in_child(Who::kRoot, [&] {
      // A page that was written in part only stays locked.
      alignas(4096) std::array<std::byte, 512> sector{};
      const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      const pid_t turner = ::fork();
      if (turner == 0) {
        const int flags = ::fcntl(fd.get(), F_GETFL);
        while (!*end) {
          (void)::fcntl(fd.get(), F_SETFL, flags | O_DIRECT);
          (void)::fcntl(fd.get(), F_SETFL, flags);
        }
        ::_exit(0);
      }
      const auto write = [&] {
        const auto begun = std::chrono::steady_clock::now();
        int writes = 0;
        for (; std::chrono::steady_clock::now() < begun + std::chrono::seconds(3); ++writes) {
          EXPECT_EQ(write_page(Writing::kLater, fd.get(), sector, sizeof sector),
                    ssize_t{sizeof sector});
        }
        EXPECT_GT(writes, 100);
      };
      // One waits for the other between the two looks.
      const pid_t other = ::fork();
      if (other == 0) {
        write();
        ::_exit(HasFailure() ? 1 : 0);
      }
      write();
      int status = -1;
      EXPECT_EQ(::waitpid(other, &status, 0), other);
      EXPECT_EQ(status, 0);
      *end = true;
      ::waitpid(turner, nullptr, 0);
    });
  }
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
