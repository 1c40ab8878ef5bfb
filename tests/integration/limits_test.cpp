// What a client asks for in bulk: more open files than the daemon may have, directories of a
// million names, thousands of requests at once, and memory that stalls under them.
#include <dirent.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::filesystem::path;

constexpr std::size_t kPage = 4096;

#if OURO_SANITIZED
constexpr std::size_t kNames = 20'000;
constexpr std::size_t kThreads = 500;
#else
constexpr std::size_t kNames = 1'000'000;
constexpr std::size_t kThreads = 10'000;
#endif

// Lets a running process open that many more descriptors, for as long as the object lives.
class DescriptorLimit {
 public:
  DescriptorLimit(pid_t pid, std::size_t more) : pid_(pid) {
    EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, nullptr, &before_), 0);
    const path open = path("/proc") / std::to_string(pid) / "fd";
    const auto held = std::distance(std::filesystem::directory_iterator(open), {});
    const rlimit lower{static_cast<rlim_t>(held) + more, before_.rlim_max};
    EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, &lower, nullptr), 0);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr), 0); }

 private:
  pid_t pid_;
  rlimit before_{};
};

std::size_t names_in(int directory) {
  DIR* const stream = ::fdopendir(::dup(directory));
  EXPECT_NE(stream, nullptr);
  std::size_t names = 0;
  ::rewinddir(stream);
  while (::readdir(stream) != nullptr) ++names;
  ::closedir(stream);
  return names;
}

void allow_many_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

class OpenFiles : public ::testing::TestWithParam<Metadata> {};

TEST_P(OpenFiles, BeyondTheLimitOfTheDaemonAreRefusedOneByOne) {
  OURO_REQUIRE(has_root());
  constexpr std::size_t kMore = 200;
  constexpr std::size_t kFiles = 50;
  constexpr int kOpens = 20'000;
  const Mode mode{Who::kRoot, Backing::kRing, GetParam(), 1};
  Mounted mounted({.options = mode.options()});
  for (std::size_t i = 0; i < kFiles; ++i) make_file(mounted.source() / std::to_string(i), "text");
  in_child(Who::kRoot, [&] {
    allow_many_open_files();
    const UniqueFd directory(::open(mounted.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string first = mounted.path() / "0";
    const UniqueFd known(::open(first.c_str(), O_RDWR | O_CLOEXEC));
    std::vector<UniqueFd> open;
    {
      const DescriptorLimit limit(mounted.pid(), kMore);
      std::set<int> errors;
      for (int i = 0; i < kOpens; ++i) {
        const path file = mounted.path() / std::to_string(static_cast<std::size_t>(i) % kFiles);
        UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
        if (fd) {
          open.push_back(std::move(fd));
        } else {
          errors.insert(errno);
        }
      }
      EXPECT_EQ(errors, std::set<int>{EMFILE});
      EXPECT_GT(open.size(), kMore / 3);
      EXPECT_LE(open.size(), kMore);
      // What is open is served on. Only what has to be looked up anew takes a descriptor, too.
      struct ::stat found {};
      EXPECT_EQ(::fstat(known.get(), &found), 0);
      EXPECT_EQ(::pwrite(known.get(), "TEXT", 4, 0), 4);
      EXPECT_EQ(::fsync(known.get()), 0);
      EXPECT_EQ(names_in(directory.get()), kFiles + 2);
      // And room comes back with each that is closed.
      open.clear();
      EXPECT_TRUE(eventually([&] {
        return static_cast<bool>(UniqueFd(::open(first.c_str(), O_RDONLY | O_CLOEXEC)));
      }));
    }
    EXPECT_EQ(read_file(first), "TEXT");
  });
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, OpenFiles, ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& instance) {
                           return instance.param == Metadata::kInline ? "Inline" : "Nested";
                         });

std::uint64_t memory_kib(pid_t pid, const std::string& key) {
  const std::string status = read_file(path("/proc") / std::to_string(pid) / "status");
  const std::size_t at = status.find(key);
  return at == std::string::npos ? 0 : std::stoull(status.substr(at + key.size()));
}

// Names of a few files, because a million inodes take a gigabyte of the machine.
void make_names(const path& directory) {
  constexpr std::size_t kInodes = 1'000;
  std::filesystem::create_directory(directory);
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (std::size_t i = 0; i < kNames; ++i) {
    const std::string name = std::to_string(i);
    const int made = i < kInodes ? ::mknodat(fd.get(), name.c_str(), S_IFREG | 0644, 0)
                                 : ::linkat(fd.get(), std::to_string(i % kInodes).c_str(), fd.get(),
                                            name.c_str(), 0);
    ASSERT_EQ(made, 0) << name << ": " << std::strerror(errno);
  }
}

// How often each of the names is listed.
std::vector<std::uint8_t> list(const path& directory) {
  std::vector<std::uint8_t> found(kNames);
  DIR* const stream = ::opendir(directory.c_str());
  EXPECT_NE(stream, nullptr);
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::size_t number = std::stoull(name);
    if (number < kNames) ++found[number];
  }
  ::closedir(stream);
  return found;
}

TEST(HugeDirectory, IsListedOnceAndInLittleMemory) {
  OURO_REQUIRE(has_root());
  auto made = LoopImage::create("tmpfs");
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) GTEST_SKIP() << missing->reason;
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  ASSERT_EQ(::mount(nullptr, image->path().c_str(), nullptr, MS_REMOUNT, "nr_inodes=0"), 0);
  make_names(image->path() / "huge");
  Mounted mounted({.source = image->path()});
  const std::uint64_t before_kib = memory_kib(mounted.pid(), "VmHWM:");
  in_child(
      Who::kRoot,
      [&] {
        const auto found = list(mounted.path() / "huge");
        const auto once = std::ranges::count(found, 1);
        EXPECT_EQ(once, static_cast<std::ptrdiff_t>(kNames)) << "of the names are listed once";
      },
      std::chrono::seconds(100));
  EXPECT_GT(before_kib, 0U);
  EXPECT_LT(memory_kib(mounted.pid(), "VmHWM:"), before_kib + 64 * 1024);
}

// Direct reads, one after the other; the first wrong one ends it.
bool read_often(int fd, int reads, unsigned seed) {
  alignas(kPage) std::array<char, kPage> page;
  for (int i = 0; i < reads; ++i) {
    const std::size_t number = (seed + static_cast<unsigned>(i) * 37) % 256;
    const auto at = static_cast<off_t>(number * kPage);
    if (::pread(fd, page.data(), kPage, at) != ssize_t{kPage}) return false;
    if (first_wrong_byte(std::span(page).first(64), static_cast<std::uint64_t>(at))) return false;
  }
  return true;
}

class Flood : public ::testing::TestWithParam<Backing> {};

TEST_P(Flood, IsAnsweredToTheLastRequest) {
  OURO_REQUIRE(has_root());
  constexpr int kReads = 5;
  const Mode mode{Who::kRoot, GetParam(), Metadata::kInline, 2};
  Mounted mounted({.options = mode.options()});
  const auto content = pattern(256 * kPage, 0);
  make_file(mounted.source() / "file", {content.data(), content.size()});
  const auto flood = [&] {
    const std::string file = mounted.path() / "file";
    const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    mounted.signal(SIGSTOP);
    std::atomic<std::size_t> right = 0;
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        if (read_often(fd.get(), kReads, static_cast<unsigned>(i))) ++right;
      });
    }
    const auto all = [&] { return requests_in_flight(mounted.path()) >= kThreads; };
    EXPECT_TRUE(eventually(all, std::chrono::seconds(40))) << requests_in_flight(mounted.path());
    mounted.signal(SIGCONT);
    // Somebody else's wait has an end while they are at it.
    struct ::stat found {};
    EXPECT_EQ(::stat(mounted.path().c_str(), &found), 0);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(right, kThreads);
  };
  in_child(Who::kRoot, flood, std::chrono::seconds(100));
  const Statistics statistics = mounted.statistics();
  EXPECT_GE(statistics["request.READ"], kThreads * kReads);
  for (const auto& complaint : disprove(mode, mounted, statistics, Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, Flood, ::testing::Values(Backing::kRing, Backing::kInline),
                         [](const auto& instance) {
                           return instance.param == Backing::kRing ? "Ring" : "Inline";
                         });

// A page that is missing until somebody gives it.
class MissingPage {
 public:
  MissingPage() {
    uffdio_api api{};
    api.api = UFFD_API;
    EXPECT_EQ(::ioctl(fault_fd_.get(), UFFDIO_API, &api), 0) << std::strerror(errno);
    uffdio_register registration{};
    registration.range = {reinterpret_cast<std::uintptr_t>(memory_), kPage};
    registration.mode = UFFDIO_REGISTER_MODE_MISSING;
    EXPECT_EQ(::ioctl(fault_fd_.get(), UFFDIO_REGISTER, &registration), 0);
  }
  MissingPage(const MissingPage&) = delete;
  MissingPage& operator=(const MissingPage&) = delete;
  ~MissingPage() { ::munmap(memory_, kPage); }

  [[nodiscard]] char* memory() const { return static_cast<char*>(memory_); }
  // Whether somebody waits for the page now.
  [[nodiscard]] bool is_awaited() const {
    pollfd fault{fault_fd_.get(), POLLIN, 0};
    return ::poll(&fault, 1, 10'000) == 1;
  }
  void give() const {
    uffdio_zeropage zero{};
    zero.range = {reinterpret_cast<std::uintptr_t>(memory_), kPage};
    EXPECT_EQ(::ioctl(fault_fd_.get(), UFFDIO_ZEROPAGE, &zero), 0);
  }

 private:
  UniqueFd fault_fd_{static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))};
  void* memory_ =
      ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
};

class StalledMemory : public ::testing::TestWithParam<int> {};

TEST_P(StalledMemory, HoldsUpNobodyElse) {
  OURO_REQUIRE(has_root());
  const Mode mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1};
  Mounted mounted({.options = mode.options()});
  const auto content = pattern(kPage, 0);
  make_file(mounted.source() / "file", {content.data(), content.size()});
  in_child(Who::kRoot, [&] {
    const std::string file = mounted.path() / "file";
    const UniqueFd fd(::open(file.c_str(), O_RDWR | GetParam() | O_CLOEXEC));
    const MissingPage into;
    const MissingPage from;
    ssize_t read = -1;
    ssize_t written = -1;
    std::thread reader([&] { read = ::pread(fd.get(), into.memory(), kPage, 0); });
    std::thread writer([&] { written = ::pwrite(fd.get(), from.memory(), kPage, kPage); });
    EXPECT_TRUE(into.is_awaited());
    EXPECT_TRUE(from.is_awaited());
    make_file(mounted.path() / "other", "text");
    EXPECT_EQ(read_file(mounted.path() / "other"), "text");
    into.give();
    from.give();
    reader.join();
    writer.join();
    EXPECT_EQ(read, ssize_t{kPage});
    EXPECT_EQ(written, ssize_t{kPage});
    expect_pattern({into.memory(), kPage}, 0);
  });
}

INSTANTIATE_TEST_SUITE_P(, StalledMemory, ::testing::Values(0, O_DIRECT), [](const auto& instance) {
  return instance.param == 0 ? "Cached" : "Direct";
});

// A name of a file outside of the source is one of the source as well, once it is there.
TEST(HardLinks, ReachOutOfTheSourceAsTheyDoNatively) {
  OURO_REQUIRE(has_root());
  Mounted mounted;
  const path outside = mounted.native() / "outside";
  make_file(outside, "text");
  ASSERT_EQ(::link(outside.c_str(), (mounted.source() / "inside").c_str()), 0);
  in_child(Who::kRoot, [&] {
    const std::string inside = mounted.path() / "inside";
    struct ::stat found {};
    EXPECT_EQ(::stat(inside.c_str(), &found), 0);
    EXPECT_EQ(found.st_nlink, 2U);
    append_to(inside, ", and more");
    // But a new one cannot be made across a mount.
    EXPECT_EQ(::link(outside.c_str(), (mounted.path() / "new").c_str()), -1);
    EXPECT_EQ(errno, EXDEV);
  });
  EXPECT_EQ(read_file(outside), "text, and more");
}

// A file has as many names as its file system lets it.
TEST(HardLinks, EndWhereTheyDoNatively) {
  OURO_REQUIRE(has_root());
  auto made = LoopImage::create("ext4", std::uintmax_t{64} << 20);
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) GTEST_SKIP() << missing->reason;
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  const path source = image->path() / "source";
  std::filesystem::create_directory(source);
  make_file(source / "file");
  const std::string name = source / "file";
  int links = 1;
  while (::link(name.c_str(), (name + std::to_string(links)).c_str()) == 0) ++links;
  ASSERT_EQ(errno, EMLINK);
  ASSERT_EQ(::unlink((name + "1").c_str()), 0);
  Mounted mounted({.source = source});
  in_child(Who::kRoot, [&] {
    const std::string file = mounted.path() / "file";
    struct ::stat found {};
    EXPECT_EQ(::stat(file.c_str(), &found), 0);
    EXPECT_EQ(found.st_nlink, static_cast<nlink_t>(links - 1));
    EXPECT_EQ(::link(file.c_str(), (file + "1").c_str()), 0);
    EXPECT_EQ(::link(file.c_str(), (file + "-more").c_str()), -1);
    EXPECT_EQ(errno, EMLINK);
  });
}

}  // namespace
}  // namespace ouro::testing
