// More cached inodes than there may be open files: no caller notices.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/mounted.hpp"

namespace ouro::testing {
namespace {

#if OURO_SANITIZED
constexpr std::size_t kFiles = 5'000;
#else
constexpr std::size_t kFiles = 100'000;
#endif
constexpr std::size_t kDirectories = 100;
constexpr std::size_t kOthers = 2'000;

// A hard limit that not even root may raise.
void allow_few_open_files() {
  const rlimit few{1024, 1024};
  ::setrlimit(RLIMIT_NOFILE, &few);
  ::prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE);
}

void make_files(const std::filesystem::path& root) {
  for (std::size_t i = 0; i < kFiles; ++i) {
    const auto directory = root / std::to_string(i % kDirectories);
    if (i < kDirectories) std::filesystem::create_directory(directory);
    ASSERT_EQ(::mknod((directory / std::to_string(i)).c_str(), S_IFREG | 0644, 0), 0);
  }
}

std::size_t count_files(const std::filesystem::path& root) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct ::stat stat {};
    EXPECT_EQ(::lstat(entry.path().c_str(), &stat), 0) << entry.path();
    files += S_ISREG(stat.st_mode) ? 1 : 0;
  }
  return files;
}

// Looks at all of them, and uses some.
void use_files(const Mounted& mounted) {
  in_child(
      mounted.who(),
      [&] {
        EXPECT_EQ(count_files(mounted.path()), kFiles);
        for (std::size_t i = 0; i < kFiles; i += kFiles / 100) {
          const auto file = mounted.path() / std::to_string(i % kDirectories) / std::to_string(i);
          append_to(file, "text");
          EXPECT_EQ(read_file(file), "text");
        }
      },
      std::chrono::seconds(100));
}

class ManyInodes : public ::testing::TestWithParam<const char*> {};

TEST_P(ManyInodes, NeedNoDescriptors) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", std::string("cache=always,") + GetParam()},
                   .before_exec = allow_few_open_files});
  make_files(mounted.source());
  use_files(mounted);
  const Statistics statistics = mounted.statistics();
  EXPECT_GT(statistics["inodes"], kFiles) << "not cached: " << statistics.text();
  EXPECT_GT(statistics["held_by_handle"], kFiles - 1024) << statistics.text();
}

// A plain user has no handles, so the kernel is asked to forget what it does not use.
TEST_P(ManyInodes, AreForgottenWhereThereAreNoHandles) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  Mounted mounted({.options = {"-o", std::string("cache=always,") + GetParam()},
                   .who = Who::kPlainUser,
                   .before_exec = allow_few_open_files});
  in_child(
      mounted.who(), [&] { make_files(mounted.source()); }, std::chrono::seconds(100));
  use_files(mounted);
  const Statistics statistics = mounted.statistics();
  EXPECT_EQ(statistics["held_by_handle"], 0U) << statistics.text();
  EXPECT_GT(statistics["pruned"], kFiles / 2) << statistics.text();
  EXPECT_LT(statistics["inodes"], 1024U) << statistics.text();
}

INSTANTIATE_TEST_SUITE_P(, ManyInodes, ::testing::Values("metadata=inline", "metadata=nested"),
                         [](const auto& instance) {
                           return instance.index == 0 ? "Inline" : "Nested";
                         });

// Beside whom a client has opened whatever it could.
void expect_the_rest_goes_on(const std::filesystem::path& root) {
  std::set<std::string> errors;
  const auto note = [&errors](const std::string& call, long result) {
    if (result < 0) errors.insert(call + ": " + std::strerror(errno));
  };
  for (std::size_t i = 0; i < kOthers; ++i) {
    const std::string name = root / "others" / std::to_string(i);
    struct ::stat found {};
    note("stat", ::stat(name.c_str(), &found));
    note("chmod", ::chmod(name.c_str(), 0600));
    note("truncate", ::truncate(name.c_str(), 1));
  }
  note("mkdir", ::mkdir((root / "made").c_str(), 0755));
  note("rename", ::rename((root / "made").c_str(), (root / "renamed").c_str()));
  note("rmdir", ::rmdir((root / "renamed").c_str()));
  std::error_code error;
  std::size_t listed = 0;
  for (auto entry = std::filesystem::directory_iterator(root / "others", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    ++listed;
  }
  EXPECT_FALSE(error) << error.message();
  EXPECT_EQ(listed, kOthers);
  EXPECT_EQ(errors, std::set<std::string>());
}

class ManyOpenFiles : public ::testing::TestWithParam<Who> {};

TEST_P(ManyOpenFiles, OfOneClientLeaveRoomForWhatIsNoOpenFile) {
  OURO_REQUIRE(can_mount_as(GetParam()));
  Mounted mounted({.who = GetParam(), .before_exec = allow_few_open_files});
  mounted.expect_line("beyond that fails with EMFILE");
  in_child(GetParam(), [&] {
    std::filesystem::create_directory(mounted.source() / "others");
    for (std::size_t i = 0; i < 1024; ++i) make_file(mounted.source() / std::to_string(i));
    for (std::size_t i = 0; i < kOthers; ++i) {
      make_file(mounted.source() / "others" / std::to_string(i), "text");
    }
  });
  in_child(GetParam(), [&] {
    const rlimit many{2048, 2048};
    ::setrlimit(RLIMIT_NOFILE, &many);
    std::vector<loop::UniqueFd> open;
    int error = 0;
    for (std::size_t i = 0; i < 1024 && error == 0; ++i) {
      const std::string name = mounted.path() / std::to_string(i);
      loop::UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
      error = fd ? 0 : errno;
      if (fd) open.push_back(std::move(fd));
    }
    EXPECT_EQ(error, EMFILE);
    EXPECT_GT(open.size(), 300U);
    EXPECT_EQ(::open((mounted.path() / "new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), -1);
    EXPECT_EQ(errno, EMFILE);
    EXPECT_FALSE(std::filesystem::exists(mounted.path() / "new")) << "made, but not opened";
    expect_the_rest_goes_on(mounted.path());
    open.clear();
    EXPECT_TRUE(eventually([&] {
      const std::string name = mounted.path() / "0";
      return static_cast<bool>(loop::UniqueFd(::open(name.c_str(), O_RDONLY | O_CLOEXEC)));
    }));
  });
  EXPECT_NE(mounted.log().find("beyond that fails with EMFILE"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, ManyOpenFiles, ::testing::Values(Who::kRoot, Who::kPlainUser),
                         [](const auto& instance) {
                           return instance.param == Who::kRoot ? "Root" : "PlainUser";
                         });

}  // namespace
}  // namespace ouro::testing
