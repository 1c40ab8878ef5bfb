// The text form of calls, and the generator.
#include "tests/differential/call.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/differential/call_table.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/selftest/selftest.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

TEST(call, every_row_survives_its_text_form) {
  Random random(5, 1);
  for (const CallRow& row : call_table()) {
    for (int i = 0; i < 200; ++i) {
      const Call call = generate_call(random, row, i % 3);
      const std::string line = format_call(call, kNames);
      const auto again = parse_call(line, kNames);
      ASSERT_TRUE(again) << line;
      EXPECT_EQ(again->row, call.row) << line;
      EXPECT_EQ(again->identity, call.identity) << line;
      EXPECT_EQ(again->probe, call.probe) << line;
      EXPECT_EQ(again->arguments, call.arguments) << line;
    }
  }
}

TEST(call, names_of_rows_are_unique) {
  std::set<std::string> names;
  for (const CallRow& row : call_table()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
}

TEST(call, flags_are_written_with_their_names) {
  const Call call = make_call(
      R"(u1001: openat slot=2 dir=cwd path="a\x20b" flags=O_CREAT|O_EXCL|O_RDWR mode=0640 +probe)");
  EXPECT_EQ(call.identity, 1);
  EXPECT_TRUE(call.probe);
  EXPECT_EQ(call.number("dir"), kCurrentDirectory);
  EXPECT_EQ(call.text("path"), "a b");
  EXPECT_EQ(call.number("mode"), 0640);
}

TEST(call, what_is_no_call_is_refused) {
  for (const char* line :
       {"", "root:", "nobody: fsync slot=0", "root: nosuchcall slot=0", "root: fsync",
        "root: fsync slot=", "root: fsync slot=x", "root: fsync tols=0",
        "root: fsync slot=0 +prove", "root: unlink path=f0", "root: umask mask=09",
        "root: fchmod slot=0 mode=O_CREAT"}) {
    EXPECT_FALSE(parse_call(line, kNames)) << line;
  }
}

TEST(call, long_paths_are_as_long_as_they_say) {
  EXPECT_EQ(expand_path("f0"), "f0");
  EXPECT_EQ(expand_path("@255"), std::string(255, 'n'));
  EXPECT_EQ(expand_path("d0/@256"), "d0/" + std::string(256, 'n'));
  EXPECT_EQ(expand_path("@path4095").size(), 4095U);
  EXPECT_EQ(expand_path("@path4095").substr(4090), "///f0");
}

TEST(generator, is_a_function_of_seed_and_number) {
  const SequenceShape shape{7, 150, 3, 10};
  const SequenceShape other_seed{8, 150, 3, 10};
  const auto lines = lines_of(generate_sequence(shape, 4).calls);
  EXPECT_EQ(lines.size(), 150U);
  EXPECT_EQ(lines, lines_of(generate_sequence(shape, 4).calls));
  EXPECT_NE(lines, lines_of(generate_sequence(shape, 5).calls));
  EXPECT_NE(lines, lines_of(generate_sequence(other_seed, 4).calls));
}

TEST(generator, uses_every_row_and_every_identity) {
  const SequenceShape shape{1, 200, 3, 10};
  std::set<std::string> rows;
  std::set<int> identities;
  for (std::uint64_t number = 0; number < 60; ++number) {
    for (const Call& call : generate_sequence(shape, number).calls) {
      rows.insert(call.row->name);
      identities.insert(call.identity);
    }
  }
  EXPECT_EQ(rows.size(), call_table().size());
  EXPECT_EQ(identities.size(), 3U);
}

// An absolute path would change the machine that runs the test.
TEST(generator, no_path_is_absolute) {
  Random random(3, 3);
  for (const CallRow& row : call_table()) {
    for (int i = 0; i < 300; ++i) {
      const Call call = generate_call(random, row, 0);
      for (std::size_t k = 0; k < call.arguments.size(); ++k) {
        if (row.parameters()[k].type->role != Role::kPath) continue;
        EXPECT_NE(call.arguments[k].text.substr(0, 1), "/") << format_call(call, kNames);
      }
    }
  }
}

}  // namespace
}  // namespace ouro::differential
