// The same operations with the source on each file system that the machine has, in the two modes
// that differ most.
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

constexpr Mode kNested{Who::kRoot, Backing::kRing, Metadata::kNested, 1};
#if OURO_SANITIZED
const auto kModes = ::testing::Values(kNested);
#else
constexpr Mode kDefault{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
const auto kModes = ::testing::Values(kDefault, kNested);
#endif

class FileSystems : public ::testing::TestWithParam<std::tuple<const char*, Mode>> {};

TEST_P(FileSystems, EqualNative) {
  const auto& [type, mode] = GetParam();
  OURO_REQUIRE(has_root());
  auto made = LoopImage::create(type);
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) {
    GTEST_SKIP() << missing->reason;
  }
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  const std::filesystem::path source = image->path() / "source";
  std::filesystem::create_directory(source);
  Mounted mounted({.options = mode.options(), .source = source});
  for (const CaseGroup& group : case_groups()) {
    SCOPED_TRACE(group.name);
    compare_with_native(mounted, group.cases());
  }
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kEverything)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , FileSystems, ::testing::Combine(::testing::Values("ext4", "xfs", "btrfs", "tmpfs"), kModes),
    [](const auto& instance) {
      return std::string(std::get<0>(instance.param)) + std::get<1>(instance.param).name();
    });

}  // namespace
}  // namespace ouro::testing
