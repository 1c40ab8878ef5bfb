// Native as the oracle, with random calls: runs ouro-differential on a mount and a native directory
// that share a file system, in the modes that differ most, and proves each mode by its counters.
// What differs is printed with the line that reproduces it. Between them the modes of a plain build
// execute more than 40,000 calls, in sequences of 200 of which some end early by a known
// difference; a build with a sanitizer runs fewer, being many times slower.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

constexpr auto kLimit = std::chrono::minutes(8);

struct Campaign {
  Mode mode = {};
  unsigned seed = 0;
  unsigned sequences = 0;
  // Of the calls, those to be executed: a sequence ends early at some known differences.
  unsigned calls_at_least = 0;
  std::string cache = "auto";
};

// Two directories alike, even in the offsets and limits of their file system.
class Ground {
 public:
  Ground() {
    auto made = LoopImage::create("ext4");
    if (auto* image = std::get_if<std::unique_ptr<LoopImage>>(&made)) {
      image_ = std::move(*image);
    } else {
      std::printf("not on a file system of its own: %s\n",
                  std::get<LoopImage::Missing>(made).reason.c_str());
      home_ = std::make_unique<TempDir>();
    }
    std::filesystem::create_directory(path() / "source");
    std::filesystem::create_directory(path() / "native");
  }
  [[nodiscard]] std::filesystem::path path() const {
    return image_ ? image_->path() : home_->path();
  }
  // Whether all of it is a file system, so that node ids are durable (passthrough/durable_ids.hpp).
  [[nodiscard]] bool is_whole() const { return image_ != nullptr; }

 private:
  std::unique_ptr<LoopImage> image_;
  std::unique_ptr<TempDir> home_;
};

// From the line "80 sequences (21 ended early by a known difference), 14275 calls, ...".
unsigned executed_calls(const std::string& summary) {
  std::smatch found;
  const std::regex line(R"(\n\d+ sequences \(\d+ ended early[^)]*\), (\d+) calls, )");
  if (!std::regex_search(summary, found, line)) return 0;
  return static_cast<unsigned>(std::stoul(found[1]));
}

void compare_at_random(const Campaign& campaign) {
  OURO_REQUIRE(can_serve(campaign.mode));
  const Ground ground;
  std::string more = "allow_other,dev,suid";
  if (campaign.mode.backing != Backing::kKernel) {  // which caches no data
    const bool writeback = campaign.cache == "writeback";
    more += writeback ? ",writeback" : ",cache=" + campaign.cache;
  }
  Mounted mounted({.options = campaign.mode.options(more), .source = ground.path()});
  EXPECT_EQ(mounted.served("nfs_export"), ground.is_whole() ? "on" : "off");
  const Output output = run_command(
      {.arguments = {OURO_DIFFERENTIAL_PROGRAM, "--native", ground.path() / "native", "--mount",
                     mounted.path() / "source", "--mount-source", ground.path() / "source",
                     "--seed", std::to_string(campaign.seed), "--sequences",
                     std::to_string(campaign.sequences), "--calls", "200", "--users", "--cache",
                     campaign.cache, "--known", OURO_KNOWN_DIFFERENCES}},
      kLimit);
  EXPECT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_GE(executed_calls(output.text), campaign.calls_at_least);
  std::printf("%s", output.text.c_str());
  const Statistics statistics = mounted.statistics();
  for (const auto& complaint : disprove(campaign.mode, mounted, statistics, Work::kEverything)) {
    ADD_FAILURE() << complaint;
  }
}

constexpr Mode kDefault{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
constexpr Mode kAuto{Who::kRoot, Backing::kRing, Metadata::kAuto, 2};
constexpr Mode kNested{Who::kRoot, Backing::kRing, Metadata::kNested, 2};
constexpr Mode kOverRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing};
constexpr Mode kKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};

// The suite is in lower case since ctest is to call them differential.default and so on.
#if !OURO_SANITIZED
constexpr Mode kBackingInline{Who::kRoot, Backing::kInline, Metadata::kInline, 2};

TEST(differential, default) {
  compare_at_random({.mode = kDefault, .seed = 20'001, .sequences = 100, .calls_at_least = 16'000});
}
TEST(differential, nested) {
  compare_at_random({.mode = kNested, .seed = 20'002, .sequences = 65, .calls_at_least = 10'500});
}
TEST(differential, metadata_auto) {
  compare_at_random({.mode = kAuto, .seed = 20'010, .sequences = 50, .calls_at_least = 7'500});
}
TEST(differential, backing_inline) {
  compare_at_random(
      {.mode = kBackingInline, .seed = 20'003, .sequences = 50, .calls_at_least = 7'500});
}
TEST(differential, over_ring) {
  compare_at_random({.mode = kOverRing, .seed = 20'008, .sequences = 50, .calls_at_least = 7'500});
}
TEST(differential, cache_never) {
  compare_at_random({.mode = kDefault,
                     .seed = 20'004,
                     .sequences = 50,
                     .calls_at_least = 7'000,
                     .cache = "never"});
}
TEST(differential, kernel) {
  compare_at_random({.mode = kKernel,
                     .seed = 20'008,
                     .sequences = 50,
                     .calls_at_least = 7'500,
                     .cache = "kernel"});
}
TEST(differential, writeback) {
  compare_at_random({.mode = kDefault,
                     .seed = 20'007,
                     .sequences = 30,
                     .calls_at_least = 4'000,
                     .cache = "writeback"});
}
#else
TEST(differential, default) {
  compare_at_random({.mode = kDefault, .seed = 20'005, .sequences = 10, .calls_at_least = 1'000});
}
TEST(differential, nested) {
  compare_at_random({.mode = kNested, .seed = 20'006, .sequences = 10, .calls_at_least = 1'000});
}
TEST(differential, over_ring) {
  compare_at_random({.mode = kOverRing, .seed = 20'009, .sequences = 10, .calls_at_least = 1'000});
}
TEST(differential, kernel) {
  compare_at_random({.mode = kKernel,
                     .seed = 20'010,
                     .sequences = 10,
                     .calls_at_least = 1'000,
                     .cache = "kernel"});
}
#endif

}  // namespace
}  // namespace ouro::testing
