// backing=kernel: that files are really given to the kernel and nothing of them comes by requests,
// that no mixture of openings is refused, that times and sizes are right at once, and that the mode
// is not had where it cannot be, with one line that says why.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/identity.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::filesystem::path;

constexpr std::size_t kPage = 4096;

UniqueFd open_file(const path& file, int flags) {
  UniqueFd fd(::open(file.c_str(), flags | O_CLOEXEC, 0666));
  EXPECT_TRUE(fd) << file << ": " << std::strerror(errno);
  return fd;
}

struct ::stat stat_of(const path& file) {
  struct ::stat stat {};
  EXPECT_EQ(::stat(file.c_str(), &stat), 0) << file << ": " << std::strerror(errno);
  return stat;
}

bool same_time(const timespec& left, const timespec& right) {
  return left.tv_sec == right.tv_sec && left.tv_nsec == right.tv_nsec;
}

void expect_same_stat(const path& mount, const path& source, const char* when) {
  const struct ::stat seen = stat_of(mount);
  const struct ::stat real = stat_of(source);
  EXPECT_EQ(seen.st_size, real.st_size) << when;
  EXPECT_EQ(seen.st_blocks, real.st_blocks) << when;
  EXPECT_EQ(seen.st_mode, real.st_mode) << when;
  EXPECT_TRUE(same_time(seen.st_mtim, real.st_mtim)) << when;
  EXPECT_TRUE(same_time(seen.st_ctim, real.st_ctim)) << when;
}

// So that the next change has another time.
void let_time_pass() {
  ::usleep(20'000);
}

constexpr Mode kKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};

void expect_mode(Mounted& mounted) {
  for (const auto& complaint : disprove(kKernel, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

TEST(KernelBacking, MovesDataWithoutARequest) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options()});
  in_child(Who::kRoot, [&] {
    const auto data = pattern(3 * kPage + 5, 0);
    const UniqueFd fd = open_file(mounted.path() / "f", O_RDWR | O_CREAT | O_EXCL);
    ASSERT_TRUE(write_all(fd.get(), data, 0));
    expect_pattern(read_at(fd.get(), data.size(), 0), 0);
    expect_pattern(read_at(open_file(mounted.source() / "f", O_RDONLY).get(), data.size(), 0), 0);
    void* memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    std::memcpy(memory, "mapped", 6);
    EXPECT_EQ(read_file(mounted.source() / "f").substr(0, 6), "mapped");
    EXPECT_EQ(read_file(mounted.path() / "f").substr(0, 6), "mapped");
    ::munmap(memory, kPage);
    const UniqueFd unnamed = open_file(mounted.path(), O_RDWR | O_TMPFILE);
    ASSERT_TRUE(write_all(unnamed.get(), data, 0));
    expect_pattern(read_at(unnamed.get(), data.size(), 0), 0);
  });
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["request.READ"], 0U);
  EXPECT_EQ(statistics["request.WRITE"], 0U);
  EXPECT_EQ(statistics["kernel_opens"], 3U);
  EXPECT_EQ(statistics["kernel_mixed_opens"], 0U);
  expect_mode(mounted);
}

// Whatever the client may keep of attributes: a day, here.
TEST(KernelBacking, TimesAndSizesAreRightAtOnce) {
  OURO_REQUIRE(has_root());
  for (const char* cache : {"cache=auto", "cache=always"}) {
    SCOPED_TRACE(cache);
    Mounted mounted({.options = kKernel.options(cache)});
    make_file(mounted.source() / "f", std::string(2 * kPage, 'x'));
    in_child(Who::kRoot, [&] {
      const path seen = mounted.path() / "f";
      const path real = mounted.source() / "f";
      expect_same_stat(seen, real, "at first");
      UniqueFd fd = open_file(seen, O_RDWR);
      let_time_pass();
      ASSERT_EQ(::pwrite(fd.get(), "text", 4, 2 * kPage + 100), 4);
      expect_same_stat(seen, real, "after a write behind the end");
      void* memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
      ASSERT_NE(memory, MAP_FAILED);
      let_time_pass();
      std::memcpy(memory, "first", 5);
      expect_same_stat(seen, real, "after a store");
      // What was written back is write-protected, so that the next store moves the times again.
      EXPECT_EQ(::msync(memory, kPage, MS_SYNC), 0);
      fd.reset();
      expect_same_stat(seen, real, "after a close");
      let_time_pass();
      const struct ::stat before = stat_of(real);
      std::memcpy(memory, "later", 5);
      EXPECT_FALSE(same_time(before.st_mtim, stat_of(real).st_mtim)) << "there is a difference";
      expect_same_stat(seen, real, "after a store by a mapping that is left");
      EXPECT_EQ(read_file(seen).substr(0, 5), "later");
      ::munmap(memory, kPage);
      let_time_pass();
      EXPECT_EQ(::truncate(seen.c_str(), 10), 0);
      expect_same_stat(seen, real, "after a truncation");
    });
    expect_mode(mounted);
  }
}

TEST(KernelBacking, ShowsForeignChangesAtOnce) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options("cache=always")});
  make_file(mounted.source() / "f", "first");
  in_child(Who::kRoot, [&] {
    const UniqueFd fd = open_file(mounted.path() / "f", O_RDONLY);
    EXPECT_EQ(read_at(fd.get(), 100, 0).size(), 5U);
    append_to(mounted.source() / "f", " and second");
    EXPECT_EQ(read_at(fd.get(), 100, 0).size(), 16U);
  });
  expect_mode(mounted);
}

// Each of them beside each other one, in both orders; what one has written the other one reads.
TEST(KernelBacking, NoMixtureOfOpeningsIsRefused) {
  OURO_REQUIRE(has_root());
  constexpr int kKinds[] = {O_RDONLY,
                            O_WRONLY,
                            O_RDWR,
                            O_RDWR | O_DIRECT,
                            O_RDONLY | O_DIRECT,
                            O_WRONLY | O_APPEND,
                            O_RDWR | O_APPEND,
                            O_RDWR | O_TRUNC,
                            O_WRONLY | O_TRUNC | O_DIRECT,
                            O_RDWR | O_SYNC,
                            O_RDWR | O_CREAT};
  Mounted mounted({.options = kKernel.options()});
  in_child(Who::kRoot, [&] {
    const path file = mounted.path() / "f";
    make_file(file, std::string(kPage, 'x'));
    void* memory =
        ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    char* const out = static_cast<char*>(memory);  // aligned, for O_DIRECT
    char* const in = out + kPage;
    char letter = 'a';
    for (const int first : kKinds) {
      for (const int second : kKinds) {
        SCOPED_TRACE(std::to_string(first) + " then " + std::to_string(second));
        const UniqueFd one = open_file(file, first);
        const UniqueFd two = open_file(file, second);
        if ((first & O_ACCMODE) == O_RDONLY || (second & O_ACCMODE) == O_WRONLY) continue;
        std::memset(out, letter, kPage);
        ASSERT_EQ(::pwrite(one.get(), out, kPage, 0), ssize_t{kPage}) << std::strerror(errno);
        // pwrite(2): with O_APPEND it appends, wherever it is told to write.
        const off_t offset = (first & O_APPEND) != 0 ? stat_of(file).st_size - ssize_t{kPage} : 0;
        ASSERT_EQ(::pread(two.get(), in, kPage, offset), ssize_t{kPage}) << std::strerror(errno);
        EXPECT_EQ(std::memcmp(in, out, kPage), 0);
        letter = static_cast<char>(letter == 'z' ? 'a' : letter + 1);
      }
    }
    ::munmap(memory, 2 * kPage);
  });
  EXPECT_GT(mounted.statistics()["kernel_mixed_opens"], 0U);
  expect_mode(mounted);
}

TEST(KernelBacking, FlagsThatAreTakenBackAreTakenBack) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options()});
  in_child(Who::kRoot, [&] {
    make_file(mounted.path() / "f", "0123456789");
    const UniqueFd appends = open_file(mounted.path() / "f", O_RDWR | O_APPEND);
    ASSERT_EQ(::fcntl(appends.get(), F_SETFL, 0), 0);
    EXPECT_EQ(::pwrite(appends.get(), "AB", 2, 0), 2);
    EXPECT_EQ(read_file(mounted.source() / "f"), "AB23456789");
  });
  // dd(1) takes O_DIRECT back for what is less than a block.
  const Output dd =
      run_command({.arguments = {"dd", "if=/dev/zero", "of=" + (mounted.path() / "dd").string(),
                                 "bs=6000c", "count=1", "oflag=direct"}});
  EXPECT_TRUE(dd.exit == kExitOk || dd.text.find("Invalid argument") != std::string::npos);
  const Output odd = run_command(
      {.arguments = {"sh", "-c",
                     "head -c 10000 /dev/zero | dd of=" + (mounted.path() / "odd").string() +
                         " bs=8192 iflag=fullblock oflag=direct"}});
  EXPECT_EQ(odd.exit, kExitOk) << odd.text;
  EXPECT_EQ(std::filesystem::file_size(mounted.source() / "odd"), 10'000U);
  expect_mode(mounted);
}

// Openings by creation and by name, closings and removals, at once.
TEST(KernelBacking, CreationsAndOpeningsRace) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options()});
  in_child(Who::kRoot, [&] {
    const path file = mounted.path() / "f";
    constexpr std::array kFlags = {O_RDWR | O_CREAT, O_RDONLY, O_WRONLY | O_CREAT | O_TRUNC,
                                   O_RDWR | O_CREAT | O_APPEND, O_RDWR | O_CREAT | O_DIRECT};
    std::atomic<int> opened = 0;
    std::vector<std::thread> threads;
    for (std::size_t number = 0; number < kFlags.size(); ++number) {
      threads.emplace_back([&, number] {
        for (int round = 0; round < 400; ++round) {
          const UniqueFd fd(::open(file.c_str(), kFlags[number] | O_CLOEXEC, 0666));
          if (fd) ++opened;
          // Removed meanwhile, or between the two halves of an opening, as it is natively.
          EXPECT_TRUE(fd || errno == ENOENT || errno == ESTALE) << std::strerror(errno);
          if (number == 0 && round % 8 == 0) ::unlink(file.c_str());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(opened, 1000);
  });
  expect_mode(mounted);
}

// --- identities ----------------------------------------------------------------------------------

const Identity kAnn{"ann", 1001, 1001};
const Identity kBob{"bob", 1002, 1002};

// What `writer` leaves of the mode of a set-id file that `holder` has open meanwhile.
mode_t mode_after_write(Mounted& mounted, const Identity& holder, int holder_flags,
                        const Identity& writer) {
  const std::string name = std::to_string(holder_flags) + "-" + holder.name + "-" + writer.name;
  make_file(mounted.source() / name, "text");
  EXPECT_EQ(::chmod((mounted.source() / name).c_str(), 06777), 0);
  std::array<int, 2> opened{};
  std::array<int, 2> done{};
  EXPECT_EQ(::pipe(opened.data()), 0);
  EXPECT_EQ(::pipe(done.data()), 0);
  char byte = 0;
  Process keeper = Process::run(Who::kRoot, [&] {
    static_cast<void>(lines_of(holder, [&] {
      const UniqueFd fd = open_file(mounted.path() / name, holder_flags);
      EXPECT_EQ(::write(opened[1], "o", 1), 1);
      EXPECT_EQ(::read(done[0], &byte, 1), 1);
      return std::vector<std::string>{};
    }));
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(::read(opened[0], &byte, 1), 1);
  static_cast<void>(lines_of(writer, [&] {
    EXPECT_EQ(::pwrite(open_file(mounted.path() / name, O_WRONLY).get(), "T", 1, 0), 1);
    return std::vector<std::string>{};
  }));
  EXPECT_EQ(::write(done[1], "d", 1), 1);
  EXPECT_EQ(keeper.wait(Mounted::kPatience), kExitOk);
  for (const int fd : {opened[0], opened[1], done[0], done[1]}) ::close(fd);
  EXPECT_EQ(read_file(mounted.source() / name), "Text");
  const mode_t seen = stat_of(mounted.path() / name).st_mode & 07777U;
  const mode_t real = stat_of(mounted.source() / name).st_mode & 07777U;
  EXPECT_EQ(seen, real);
  return real;
}

TEST(KernelBacking, WhoWritesBesideSomebodyElseDoesItAsHimself) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options("allow_other,suid")});
  std::filesystem::permissions(mounted.source(), std::filesystem::perms::all);
  const Identity root{"root", 0, 0};
  for (const int flags : {O_RDONLY, O_RDWR}) {
    SCOPED_TRACE(flags);
    EXPECT_EQ(mode_after_write(mounted, root, flags, kAnn), 0777U) << "a user's write clears";
    EXPECT_EQ(mode_after_write(mounted, kAnn, flags, root), 06777U) << "root's does not";
    EXPECT_EQ(mode_after_write(mounted, kAnn, flags, kBob), 0777U);
  }
  const Statistics statistics = mounted.statistics();
  EXPECT_GT(statistics["kernel_mixed_opens"], 0U);
  EXPECT_GT(statistics["kernel_opens"], 0U);
  expect_mode(mounted);
}

TEST(KernelBacking, AWriterKeepsWhatHisGroupsLetHimKeep) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = kKernel.options("allow_other,suid")});
  const Identity member{"member", 1002, 1002, {2001, 2002}};
  const path file = mounted.path() / "f";
  make_file(mounted.source() / "f", "text");
  ASSERT_EQ(::chown((mounted.source() / "f").c_str(), member.uid, member.gid), 0);
  std::array<int, 2> opened{};
  std::array<int, 2> changed{};
  ASSERT_EQ(::pipe(opened.data()), 0);
  ASSERT_EQ(::pipe(changed.data()), 0);
  char byte = 0;
  Process writer = Process::run(Who::kRoot, [&] {
    static_cast<void>(lines_of(member, [&] {
      const UniqueFd fd = open_file(file, O_RDWR);
      EXPECT_EQ(::write(opened[1], "o", 1), 1);
      EXPECT_EQ(::read(changed[0], &byte, 1), 1);
      EXPECT_EQ(::pwrite(fd.get(), "T", 1, 0), 1);
      return std::vector<std::string>{};
    }));
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(::read(opened[0], &byte, 1), 1);
  // What was given as the file of one group is that of another one now, which decides about SGID.
  EXPECT_EQ(::chown(file.c_str(), member.uid, member.groups.back()), 0);
  EXPECT_EQ(::chmod(file.c_str(), 02644), 0);
  EXPECT_EQ(::write(changed[1], "c", 1), 1);
  EXPECT_EQ(writer.wait(Mounted::kPatience), kExitOk);
  for (const int fd : {opened[0], opened[1], changed[0], changed[1]}) ::close(fd);
  EXPECT_EQ(read_file(mounted.source() / "f"), "Text");
  EXPECT_EQ(stat_of(file).st_mode & 07777U, 02644U);
  EXPECT_EQ(stat_of(mounted.source() / "f").st_mode & 07777U, 02644U);
  EXPECT_GT(mounted.statistics()["kernel_opens"], 0U);
  expect_mode(mounted);
}

// --- where it cannot be had ----------------------------------------------------------------------

struct Refused {
  const char* name;
  Who who;
  const char* options;
  const char* reason;
};

class KernelBackingRefused : public ::testing::TestWithParam<Refused> {};

TEST_P(KernelBackingRefused, SaysWhyAndGoesByTheRing) {
  const Refused& refused = GetParam();
  OURO_REQUIRE(can_mount_as(refused.who));
  Mounted mounted({.options = {"-o", refused.options},
                   .who = refused.who,
                   .expected = {"backing=kernel is refused"}});
  in_child(refused.who, [&] {
    make_file(mounted.path() / "f", "text");
    EXPECT_EQ(read_file(mounted.path() / "f"), "text");
  });
  EXPECT_EQ(mounted.served("backing"), "ring");
  const std::string log = mounted.log();
  const std::size_t line = log.find("backing=kernel is refused: ");
  ASSERT_NE(line, std::string::npos) << log;
  EXPECT_NE(log.find(refused.reason, line), std::string::npos) << log;
  EXPECT_EQ(log.find("backing=kernel is refused", line + 1), std::string::npos) << "one line";
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["kernel_opens"] + statistics["kernel_other_opens"], 0U);
  EXPECT_GT(statistics["cqe.write"], 0U);
}

INSTANTIATE_TEST_SUITE_P(
    , KernelBackingRefused,
    ::testing::Values(Refused{"User", Who::kPlainUser, "backing=kernel", "CAP_SYS_ADMIN"},
                      Refused{"UserAuto", Who::kPlainUser, "backing=auto", "CAP_SYS_ADMIN"},
                      Refused{"Writeback", Who::kRoot, "backing=kernel,writeback", "writeback"},
                      Refused{"WritebackAuto", Who::kRoot, "backing=auto,writeback", "writeback"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(KernelBacking, IsWhatAutoTakesWhereItCanBeHad) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "backing=auto"}});
  in_child(Who::kRoot, [&] { make_file(mounted.path() / "f", "text"); });
  EXPECT_EQ(mounted.served("backing"), "kernel");
  EXPECT_EQ(mounted.statistics()["kernel_opens"], 1U);
}

TEST(KernelBacking, IsNotTheDefault) {
  OURO_REQUIRE(has_root());
  Mounted mounted;
  EXPECT_EQ(mounted.served("backing"), "ring");
}

// --- what is stacked on what ---------------------------------------------------------------------

// An overlay on plain directories; gone with it.
class Overlay {
 public:
  // `lower` is below it; the rest is in `home`.
  Overlay(const path& home, const path& lower) : path_(home / "overlay") {
    for (const char* name : {"upper", "work", "overlay"}) {
      std::filesystem::create_directory(home / name);
    }
    const std::string options = "lowerdir=" + lower.string() +
                                ",upperdir=" + (home / "upper").string() +
                                ",workdir=" + (home / "work").string();
    error_ = ::mount("overlay", path_.c_str(), "overlay", 0, options.c_str()) == 0 ? 0 : errno;
  }
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;
  ~Overlay() {
    if (error_ == 0) ::umount2(path_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] path top() const { return path_; }

 private:
  path path_;
  int error_ = 0;
};

class KernelBackingOnOverlay : public ::testing::Test {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    // A file system of its own: where the tests run may be an overlay already.
    ASSERT_EQ(::mount("tmpfs", home_.path().c_str(), "tmpfs", 0, ""), 0) << std::strerror(errno);
    mounted_ = true;
    std::filesystem::create_directory(home_ / "lower");
    make_file(home_ / "lower/f", "lower");
    overlay_ = std::make_unique<Overlay>(home_.path(), home_ / "lower");
    if (overlay_->error() != 0)
      GTEST_SKIP() << "no overlayfs: " << std::strerror(overlay_->error());
  }
  void TearDown() override {
    overlay_.reset();
    if (mounted_) ::umount2(home_.path().c_str(), MNT_DETACH);
  }

  TempDir home_;
  bool mounted_ = false;
  std::unique_ptr<Overlay> overlay_;
};

TEST_F(KernelBackingOnOverlay, IsHadWithTheDepthThatTheSourceTakes) {
  Mounted mounted({.options = kKernel.options(), .source = overlay_->top()});
  in_child(Who::kRoot, [&] {
    EXPECT_EQ(read_file(mounted.path() / "f"), "lower");
    append_to(mounted.path() / "f", " and upper");
    EXPECT_EQ(read_file(mounted.path() / "f"), "lower and upper");
  });
  EXPECT_EQ(read_file(home_ / "upper/f"), "lower and upper");
  EXPECT_EQ(read_file(home_ / "lower/f"), "lower");
  expect_mode(mounted);
}

TEST_F(KernelBackingOnOverlay, IsRefusedWhereTheDepthIsTooSmall) {
  Mounted mounted({.options = {"-o", "backing=kernel,passthrough_stack_depth=1"},
                   .source = overlay_->top(),
                   .expected = {"backing=kernel is refused"}});
  EXPECT_EQ(mounted.served("backing"), "ring");
  EXPECT_NE(mounted.log().find("backing=kernel is refused: SOURCE is stacked too deep (ELOOP)"),
            std::string::npos)
      << mounted.log();
  in_child(Who::kRoot, [&] { EXPECT_EQ(read_file(mounted.path() / "f"), "lower"); });
}

// What is below a source that is not stacked may be so: only those files go by requests.
TEST_F(KernelBackingOnOverlay, IsRefusedForFilesThatAreStackedTooDeep) {
  Mounted mounted({.options = kKernel.options(),
                   .source = home_.path(),
                   .expected = {"backing=kernel is refused"}});
  in_child(Who::kRoot, [&] {
    const path stacked = mounted.path() / "overlay/f";
    EXPECT_EQ(read_file(stacked), "lower");
    append_to(stacked, " and upper");
    EXPECT_EQ(read_file(stacked), "lower and upper");
    EXPECT_EQ(read_file(mounted.path() / "lower/f"), "lower");
  });
  const std::string log = mounted.log();
  const std::size_t line = log.find("backing=kernel is refused for a file");
  ASSERT_NE(line, std::string::npos) << log;
  EXPECT_NE(log.find("(ELOOP)", line), std::string::npos) << log;
  EXPECT_EQ(log.find("backing=kernel is refused", line + 1), std::string::npos) << "one line";
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["kernel_opens"], 1U);
  EXPECT_EQ(statistics["kernel_other_opens"], 3U);
  EXPECT_GT(statistics["cqe.read"], 0U) << "by the ring";
}

TEST(KernelBacking, LetsOverlaysBePutOnPlainSources) {
  OURO_REQUIRE(has_root());
  for (const char* depth : {"auto", "2"}) {
    SCOPED_TRACE(depth);
    const TempDir home;
    ASSERT_EQ(::mount("tmpfs", home.path().c_str(), "tmpfs", 0, ""), 0) << std::strerror(errno);
    {
      Mounted mounted(
          {.options = kKernel.options(std::string("passthrough_stack_depth=") + depth)});
      make_file(mounted.source() / "f", "text");
      in_child(Who::kRoot, [&] {
        const Overlay overlay(home.path(), mounted.path());
        if (std::string(depth) == "2") {
          EXPECT_EQ(overlay.error(), EINVAL) << "maximum fs stacking depth exceeded";
          return;
        }
        ASSERT_EQ(overlay.error(), 0) << std::strerror(overlay.error());
        EXPECT_EQ(read_file(overlay.top() / "f"), "text");
      });
    }
    ::umount2(home.path().c_str(), MNT_DETACH);
  }
}

}  // namespace
}  // namespace ouro::testing
