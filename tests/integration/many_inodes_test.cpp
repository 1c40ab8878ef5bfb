// More cached inodes than there may be open files: no caller notices.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace ouro::testing
