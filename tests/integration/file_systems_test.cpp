// The same operations with the source on each file system that the machine has, by root and by a
// plain user, with each backing.
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

// Each backing under each user; metadata takes both forms with both backings.
#if OURO_SANITIZED
const auto kModes = ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1});
#else
const auto kModes =
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 2},
                      Mode{Who::kRoot, Backing::kKernel, Metadata::kInline, 2},
                      Mode{Who::kPlainUser, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kPlainUser, Backing::kInline, Metadata::kNested, 1});
#endif

// KERNEL: a tmpfs shows what was stored behind the end of a file when it grows. Where the mappings
// are its own, the mount shows it as well, and the case does not know which they are.
std::vector<Case> without_tails_of_tmpfs(std::vector<Case> cases, const std::string& type,
                                         const Mode& mode) {
  if (type == "tmpfs" && mode.backing == Backing::kKernel) {
    std::erase_if(cases, [](const Case& one) { return std::string(one.name) == "tails"; });
  }
  return cases;
}

// Every case on a file system of that type; `and_then` sees the mount at the end.
void compare_on(const char* type, const Mode& mode, const std::string& option,
                const std::function<void(const Statistics&)>& and_then) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(can_serve(mode));
  auto made = LoopImage::create(type);
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) {
    GTEST_SKIP() << missing->reason;
  }
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  const std::filesystem::path source = image->path() / "source";
  std::filesystem::create_directory(source);
  if (mode.who == Who::kPlainUser) {
    // Beside it, a directory for what is done natively.
    ASSERT_EQ(::chown(source.c_str(), kPlainUid, kPlainUid), 0);
    ASSERT_EQ(::chmod(image->path().c_str(), 0755), 0);
  }
  Mounted mounted({.options = mode.options(option), .who = mode.who, .source = source});
  for (const CaseGroup& group : case_groups()) {
    SCOPED_TRACE(group.name);
    compare_with_native(mounted, without_tails_of_tmpfs(group.cases(), type, mode));
  }
  const Statistics statistics = mounted.statistics();
  for (const auto& complaint : disprove(mode, mounted, statistics, Work::kEverything)) {
    ADD_FAILURE() << complaint;
  }
  and_then(statistics);
}

class FileSystems : public ::testing::TestWithParam<std::tuple<const char*, Mode>> {};

TEST_P(FileSystems, EqualNative) {
  const auto& [type, mode] = GetParam();
  compare_on(type, mode, "", [](const Statistics& statistics) {
    EXPECT_EQ(statistics["handle_opens"], 0U) << statistics.text();
    EXPECT_EQ(statistics["request.FLUSH"], 0U) << statistics.text();
  });
}

INSTANTIATE_TEST_SUITE_P(
    , FileSystems, ::testing::Combine(::testing::Values("ext4", "xfs", "btrfs", "tmpfs"), kModes),
    [](const auto& instance) {
      return std::string(std::get<0>(instance.param)) + std::get<1>(instance.param).name();
    });

// With file handles in place of descriptors.
class FileHandles : public ::testing::TestWithParam<std::tuple<const char*, Mode>> {};

TEST_P(FileHandles, EqualNative) {
  const auto& [type, mode] = GetParam();
  compare_on(type, mode, "inode_file_handles=mandatory", [](const Statistics& statistics) {
    EXPECT_GT(statistics["handle_opens"], 1'000U) << statistics.text();
  });
}

#if OURO_SANITIZED
const auto kRootModes = ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2});
#else
const auto kRootModes = ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2},
                                          Mode{Who::kRoot, Backing::kKernel, Metadata::kInline, 1},
                                          Mode{Who::kRoot, Backing::kInline, Metadata::kNested, 1});
#endif

INSTANTIATE_TEST_SUITE_P(, FileHandles,
                         ::testing::Combine(::testing::Values("ext4", "xfs", "btrfs", "tmpfs"),
                                            kRootModes),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param)) +
                                  std::get<1>(instance.param).name();
                         });

}  // namespace
}  // namespace ouro::testing
