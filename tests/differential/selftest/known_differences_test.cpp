// The list of known differences: its syntax, what its rules match, and the list of this project.
#include "tests/differential/known_differences.hpp"

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/differential/selftest/selftest.hpp"

namespace ouro::differential {
namespace {

constexpr const char* kHead = "# prose\n- call: not an entry\n\n<!-- entries -->\n";
constexpr const char* kEntry =
    "\n## collapse\n"
    "- call: fallocate, ftruncate\n"
    "- field: errno\n"
    "- native: ok\n"
    "- mount: EOPNOTSUPP or EINVAL\n"
    "- with: mode has FALLOC_FL_COLLAPSE_RANGE\n"
    "- with: mode lacks FALLOC_FL_KEEP_SIZE\n"
    "- filesystem: ext4, xfs\n"
    "- identity: root\n"
    "- then: end-sequence\n"
    "- reason: a sentence\n"
    "  in two lines\n"
    "- kernel: fs/fuse/file.c, fuse_file_fallocate()\n";

std::string complaint_about(const std::string& entries) {
  std::string complaint;
  EXPECT_FALSE(KnownDifferences::parse(kHead + entries, complaint)) << entries;
  return complaint;
}

KnownDifferences parse(const std::string& entries) {
  std::string complaint;
  auto known = KnownDifferences::parse(kHead + entries, complaint);
  EXPECT_TRUE(known) << complaint;
  return known.value_or(KnownDifferences());
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(known_differences, an_entry_is_read_in_full) {
  const KnownDifferences known = parse(kEntry);
  ASSERT_EQ(known.entries().size(), 1U);
  const KnownDifference& entry = known.entries()[0];
  EXPECT_EQ(entry.id, "collapse");
  EXPECT_EQ(entry.calls, std::vector<std::string>({"fallocate", "ftruncate"}));
  EXPECT_EQ(entry.mount, std::vector<std::string>({"EOPNOTSUPP", "EINVAL"}));
  EXPECT_EQ(entry.with.size(), 2U);
  EXPECT_EQ(entry.then, Then::kEndSequence);
  EXPECT_EQ(entry.reason, "a sentence in two lines");
}

TEST(known_differences, an_empty_list_is_fine) {
  EXPECT_TRUE(parse("").entries().empty());
}

TEST(known_differences, mistakes_are_refused_with_their_line) {
  EXPECT_EQ(complaint_about("## a\n- colour: red\n\n## b\n"), "line 8: unknown key 'colour'");
  EXPECT_NE(complaint_about(with(kEntry, "call: fallocate", "call: falocate")), "");
  EXPECT_NE(complaint_about(with(kEntry, "then: end", "then: stop")), "");
  EXPECT_NE(complaint_about(with(kEntry, "mode has", "mode with")), "");
  EXPECT_NE(complaint_about(with(kEntry, "identity: root", "identity: bin")), "");
  EXPECT_NE(complaint_about(with(kEntry, "- reason: a sentence\n  in two lines\n", "")), "");
  EXPECT_NE(complaint_about(with(kEntry, "- kernel: fs/fuse/file.c, fuse_file_fallocate()\n", "")),
            "");
  EXPECT_NE(complaint_about(with(kEntry, "- field: errno\n", "")), "");
  EXPECT_NE(complaint_about(
                with(with(kEntry, "- native: ok\n", ""), "- mount: EOPNOTSUPP or EINVAL\n", "")),
            "");
  EXPECT_NE(complaint_about(std::string(kEntry) + kEntry), "");
  EXPECT_NE(complaint_about("- call: fallocate\n## a\n"), "");
  EXPECT_NE(complaint_about("prose\n"), "");
}

class Matching : public ::testing::Test {
 protected:
  bool matches(const std::string& entry) {
    Sighting sighting{"fallocate", &call_,   &native_, &difference_,
                      "ext4",      by_root_, cache_,   &calls_so_far_};
    return parse(entry).find(sighting) != nullptr;
  }

  Call call_ =
      make_call("root: fallocate slot=0 mode=FALLOC_FL_COLLAPSE_RANGE offset=0 length=4096");
  Outcome native_;
  Difference difference_{"errno", "ok", "EOPNOTSUPP"};
  bool by_root_ = true;
  std::string cache_ = "never";
  std::set<std::string> calls_so_far_{"fallocate", "mmap_read"};
};

TEST_F(Matching, the_cache_and_what_went_before_count) {
  const std::string cached = with(kEntry, "- then", "- cache: auto, never\n- then");
  EXPECT_TRUE(matches(cached));
  EXPECT_FALSE(matches(with(cached, "auto, never", "auto, always")));
  const std::string later = with(kEntry, "- then", "- after: mmap_store, mmap_read\n- then");
  EXPECT_TRUE(matches(later));
  EXPECT_FALSE(matches(with(later, ", mmap_read", "")));
  EXPECT_NE(complaint_about(with(later, "mmap_store", "mmap_stored")), "");
  const std::string behind = with(later, "mmap_read", "writeback");
  EXPECT_FALSE(matches(behind));
  cache_ = "writeback";
  EXPECT_TRUE(matches(behind));
}

TEST_F(Matching, every_condition_counts) {
  EXPECT_TRUE(matches(kEntry));
  EXPECT_FALSE(matches(with(kEntry, "call: fallocate, ", "call: ")));
  EXPECT_FALSE(matches(with(kEntry, "field: errno", "field: result")));
  EXPECT_FALSE(matches(with(kEntry, "native: ok", "native: EINVAL")));
  EXPECT_FALSE(matches(with(kEntry, "EOPNOTSUPP or ", "")));
  EXPECT_FALSE(matches(with(kEntry, "FALLOC_FL_COLLAPSE_RANGE", "FALLOC_FL_INSERT_RANGE")));
  EXPECT_FALSE(
      matches(with(kEntry, "lacks FALLOC_FL_KEEP_SIZE", "lacks FALLOC_FL_COLLAPSE_RANGE")));
  EXPECT_FALSE(matches(with(kEntry, "filesystem: ext4, ", "filesystem: ")));
  EXPECT_FALSE(matches(with(kEntry, "identity: root", "identity: user")));
  EXPECT_FALSE(matches(with(kEntry, "- then", "- relation: mount-less\n- then")));
  EXPECT_TRUE(matches(with(kEntry, "call: fallocate, ftruncate", "call: any")));
}

TEST_F(Matching, values_may_differ_anyhow) {
  const std::string values = "- native: ok\n- mount: EOPNOTSUPP or EINVAL\n";
  EXPECT_TRUE(matches(with(kEntry, values, "- relation: differs\n")));
  EXPECT_NE(complaint_about(with(kEntry, values, "- relation: differ\n")), "");
}

TEST_F(Matching, an_argument_that_the_call_lacks_does_not_match) {
  EXPECT_FALSE(matches(with(kEntry, "mode has", "colour has")));
}

TEST_F(Matching, numbers_can_be_bounded) {
  const std::string entry = with(kEntry, "mode has FALLOC_FL_COLLAPSE_RANGE", "length above 4095");
  EXPECT_TRUE(matches(entry));
  EXPECT_FALSE(matches(with(entry, "above 4095", "above 4096")));
  EXPECT_TRUE(matches(with(entry, "above 4095", "below 4097")));
  EXPECT_FALSE(matches(with(entry, "above 4095", "below 4096")));
  EXPECT_TRUE(matches(with(entry, "above 4095", "is 1 or 4096")));
  EXPECT_FALSE(matches(with(entry, "above 4095", "is 1 or 40960")));
  EXPECT_FALSE(matches(with(entry, "above 4095", "above x")));
}

TEST_F(Matching, descriptors_can_be_asked_for) {
  native_.text("slot/flags", "O_DIRECT|O_RDWR");
  const std::string entry = with(kEntry, "- then", "- where: slot/flags has O_DIRECT\n- then");
  EXPECT_TRUE(matches(entry));
  EXPECT_FALSE(matches(with(entry, "has O_DIRECT", "has O_APPEND")));
}

TEST_F(Matching, facts_of_a_probe_go_by_their_last_part) {
  native_.text("path/type", "directory");
  native_.octal("path/mode", 02755);
  difference_ = {"path/atime", "call 3", "call 1", Relation::kMountLess};
  const std::string entry =
      "## atime\n- call: any\n- field: atime\n- relation: mount-less\n"
      "- where: type is directory\n- where: mode is 02755\n- reason: r\n- kernel: k\n";
  EXPECT_TRUE(matches(entry));
  EXPECT_TRUE(matches(with(entry, "field: atime", "field: size, path/atime")));
  EXPECT_FALSE(matches(with(entry, "is directory", "is file")));
  EXPECT_FALSE(matches(with(entry, "is 02755", "is 0755")));
  EXPECT_FALSE(matches(with(entry, "mount-less", "mount-greater")));
  EXPECT_FALSE(matches(with(entry, "field: atime", "field: slot/atime")));
}

TEST(known_differences, the_list_of_this_project_is_well_formed) {
  std::ifstream file(OURO_KNOWN_DIFFERENCES);
  ASSERT_TRUE(file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::string complaint;
  EXPECT_NE(text.find("\n<!-- entries -->\n"), std::string::npos);
  EXPECT_TRUE(KnownDifferences::parse(text, complaint)) << complaint;
}

}  // namespace
}  // namespace ouro::differential
