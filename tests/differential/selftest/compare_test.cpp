// Comparing outcomes, trees and times; the texts that describe data.
#include "tests/differential/compare.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/differential/payload.hpp"
#include "tests/differential/timeline.hpp"
#include "tests/differential/tree.hpp"

namespace ouro::differential {
namespace {

Outcome failed(int error) {
  Outcome outcome;
  errno = error;
  outcome.finish(-1);
  return outcome;
}

// Calls at 100-110, 200-210 and 300-310 on one side, 5 later on the other.
Yardstick make_yardstick() {
  Yardstick yardstick;
  for (const std::int64_t begin : {100, 200, 300}) {
    yardstick.native.add({begin, begin + 10});
    yardstick.mount.add({begin + 5, begin + 15});
  }
  return yardstick;
}

std::vector<Difference> compare_times(std::int64_t native, std::int64_t mount,
                                      const Yardstick& yardstick) {
  Outcome left;
  Outcome right;
  left.time("mtime", native);
  right.time("mtime", mount);
  return compare_outcomes(left, right, yardstick);
}

TEST(compare, equal_outcomes_have_no_difference) {
  Outcome outcome;
  outcome.finish(7);
  outcome.number("size", 4096);
  outcome.text("data", "4096 bytes");
  EXPECT_TRUE(compare_outcomes(outcome, outcome, {}).empty());
}

TEST(compare, a_different_errno_is_the_only_difference) {
  Outcome fine;
  fine.number("size", 1);
  const auto differences = compare_outcomes(fine, failed(ENOSPC), {});
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_EQ(differences[0].field, "errno");
  EXPECT_EQ(differences[0].native, "ok");
  EXPECT_EQ(differences[0].mount, "ENOSPC");
}

TEST(compare, results_facts_and_missing_facts_differ) {
  Outcome native;
  Outcome mount;
  native.finish(10);
  mount.finish(9);
  native.octal("mode", 0644);
  mount.octal("mode", 04644);
  native.text("xattr user.a", "1 bytes");
  mount.text("xattr user.b", "1 bytes");
  const auto differences = compare_outcomes(native, mount, {});
  ASSERT_EQ(differences.size(), 4U);
  EXPECT_EQ(differences[0].field, "result");
  EXPECT_EQ(differences[0].relation, Relation::kMountLess);
  EXPECT_EQ(differences[1].native, "0644");
  EXPECT_EQ(differences[1].mount, "04644");
  EXPECT_EQ(differences[2].mount, "absent");
  EXPECT_EQ(differences[3].native, "absent");
}

TEST(compare, sectors_have_some_slack) {
  Outcome native;
  Outcome mount;
  native.sectors("blocks", 1000);
  mount.sectors("blocks", 1032);
  EXPECT_TRUE(compare_outcomes(native, mount, {}).empty());
  Outcome far;
  far.sectors("blocks", 0);
  EXPECT_EQ(compare_outcomes(native, far, {}).size(), 1U);
}

TEST(compare, times_agree_when_the_same_call_made_them) {
  const Yardstick yardstick = make_yardstick();
  EXPECT_TRUE(compare_times(202, 214, yardstick).empty());
  const auto older = compare_times(202, 106, yardstick);
  ASSERT_EQ(older.size(), 1U);
  EXPECT_EQ(older[0].native, "call 1");
  EXPECT_EQ(older[0].mount, "call 0");
  EXPECT_EQ(older[0].relation, Relation::kMountLess);
  EXPECT_EQ(compare_times(202, 307, yardstick)[0].relation, Relation::kMountGreater);
}

TEST(compare, explicit_times_must_be_equal) {
  const Yardstick yardstick = make_yardstick();
  EXPECT_TRUE(compare_times(17, 17, yardstick).empty());
  EXPECT_EQ(compare_times(17, 18, yardstick).size(), 1U);
  EXPECT_EQ(compare_times(17, 207, yardstick).size(), 1U);
  EXPECT_EQ(compare_times(-1, 207, yardstick)[0].native, "explicit -1.999999999");
}

TEST(compare, a_stamp_between_two_calls_belongs_to_none) {
  const auto late = compare_times(202, 260, make_yardstick());
  ASSERT_EQ(late.size(), 1U);
  EXPECT_EQ(late[0].mount, "after call 1");
}

TEST(compare, access_times_of_unpaced_runs_are_compared_only_where_explicit) {
  Yardstick yardstick = make_yardstick();
  yardstick.access_times = AccessTimes::kExplicitOnly;
  Outcome native;
  Outcome mount;
  Outcome at_set_time;
  native.access_time("atime", 102);
  mount.access_time("atime", 307);
  at_set_time.access_time("atime", 5);
  EXPECT_TRUE(compare_outcomes(native, mount, yardstick).empty());
  EXPECT_EQ(compare_outcomes(native, at_set_time, yardstick).size(), 1U);
  yardstick.access_times = AccessTimes::kByCall;
  EXPECT_EQ(compare_outcomes(native, mount, yardstick).size(), 1U);
}

TEST(compare, overlapping_intervals_leave_several_calls_possible) {
  Timeline timeline;
  timeline.add({100, 150});
  timeline.add({100, 160});
  timeline.add({104, 170});
  EXPECT_EQ(describe_origin(timeline.locate(120)), "calls 0-2");
  EXPECT_EQ(describe_origin(timeline.locate(101)), "calls 0-1");
}

TEST(compare, trees_differ_in_paths_and_in_facts) {
  const auto entry = [](const char* path, std::int64_t size) {
    TreeEntry made{path, {}};
    made.seen.number("size", size);
    return made;
  };
  Tree native{{entry("./a", 1), entry("./b", 2), entry("./d", 4)}, {}};
  Tree mount{{entry("./b", 3), entry("./c", 2), entry("./d", 4)}, {}};
  const auto found = compare_trees(native, mount, {});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].difference.subject, "./a");
  EXPECT_EQ(found[0].difference.mount, "missing");
  EXPECT_EQ(found[1].difference.field, "size");
  EXPECT_EQ(found[2].difference.subject, "./c");
  EXPECT_EQ(found[2].difference.mount, "present");
  EXPECT_EQ(found[2].native, nullptr);
}

TEST(outcome, survives_the_wire) {
  Outcome outcome = failed(EIO);
  outcome.when = {5, 6};
  outcome.text("data", std::string("a\0b", 3));
  outcome.access_time("atime", -7);
  const auto again = Outcome::decode(outcome.encode());
  ASSERT_TRUE(again);
  EXPECT_TRUE(compare_outcomes(outcome, *again, {}).empty());
  EXPECT_EQ(again->error(), EIO);
  EXPECT_EQ(again->when.end_ns, 6);
  EXPECT_EQ(again->facts().size(), 2U);
  const std::string bytes = outcome.encode();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Outcome::decode(std::string_view(bytes).substr(0, size))) << size;
  }
}

TEST(payload, a_summary_names_the_writers_and_notices_every_byte) {
  std::vector<std::byte> data(300);
  fill_pattern(std::span(data).first(100), 1);
  fill_pattern(std::span(data).subspan(200), 26);
  const std::string text = describe(data);
  EXPECT_EQ(text.substr(0, 10), "300 bytes ");
  EXPECT_NE(text.find(" A*100 0*100 Z*100"), std::string::npos) << text;
  std::swap(data[3], data[5]);
  std::vector<std::byte> moved(data.begin() + 1, data.end());
  EXPECT_NE(describe(data), text);
  moved.push_back(data.back());
  EXPECT_NE(describe(moved), describe(data));
}

TEST(payload, a_summary_does_not_depend_on_the_pieces) {
  std::vector<std::byte> data(1000);
  fill_pattern(data, 7);
  DataSummary summary;
  summary.add(std::span(data).first(1));
  summary.add(std::span(data).subspan(1));
  EXPECT_EQ(summary.text(), describe(data));
}

}  // namespace
}  // namespace ouro::differential
