// The shrinker, with predicates instead of file systems.
#include "tests/differential/shrink.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/differential/generator.hpp"
#include "tests/differential/selftest/selftest.hpp"

namespace ouro::differential {
namespace {

constexpr unsigned kReplays = 2000;

// The index of the first call of that row at or behind `from`, or the size.
std::size_t find_call(const Calls& calls, const std::string& row, std::size_t from = 0) {
  for (std::size_t i = from; i < calls.size(); ++i) {
    if (calls[i].row->name == row) return i;
  }
  return calls.size();
}

Calls random_calls(std::size_t count) {
  return generate_sequence(SequenceShape{11, count, 3, 10}, 0).calls;
}

// Random calls with the given ones at a quarter, at two quarters and so on.
Calls hide(const std::vector<std::string>& lines) {
  Calls calls = random_calls(200);
  for (const char* row : {"statfs", "umask", "sendfile"}) {
    calls.erase(
        std::remove_if(calls.begin(), calls.end(),
                       [row](const Call& call) { return call.row->name == std::string(row); }),
        calls.end());
  }
  std::ptrdiff_t at = 40;
  for (const std::string& line : lines) {
    calls.insert(calls.begin() + at, make_call(line));
    at += 45;
  }
  return calls;
}

TEST(shrink, keeps_just_the_calls_that_matter) {
  const std::vector<std::string> needed{R"(root: statfs path="f0")", "root: umask mask=022",
                                        R"(root: statfs path="f1")"};
  const auto fails = [](const Calls& calls) {
    const std::size_t first = find_call(calls, "statfs");
    const std::size_t second = find_call(calls, "umask", first);
    return find_call(calls, "statfs", second) < calls.size();
  };
  const ShrinkResult result = shrink(hide(needed), fails, kReplays);
  EXPECT_EQ(lines_of(result.calls), needed);
  EXPECT_LT(result.replays, 200U);
}

TEST(shrink, makes_arguments_plainer) {
  const auto fails = [](const Calls& calls) {
    const std::size_t at = find_call(calls, "openat");
    return at < calls.size() && (calls[at].number("flags") & 02000) != 0;  // O_APPEND
  };
  const ShrinkResult result = shrink(
      make_calls(
          {R"(u1002: openat slot=3 dir=cwd path="d0/s0/f4" flags=O_CREAT|O_APPEND|O_RDWR mode=0644 +probe)"}),
      fails, kReplays);
  EXPECT_EQ(lines_of(result.calls),
            std::vector<std::string>(
                {R"(root: openat slot=3 dir=cwd path="f4" flags=O_APPEND mode=0644)"}));
}

TEST(shrink, never_gives_back_what_does_not_fail) {
  const Calls calls = random_calls(60);
  const auto never = [](const Calls&) { return false; };
  EXPECT_EQ(lines_of(shrink(calls, never, kReplays).calls), lines_of(calls));
}

TEST(shrink, keeps_within_its_replays) {
  unsigned asked = 0;
  const auto fails = [&asked](const Calls& calls) {
    ++asked;
    return find_call(calls, "umask") < calls.size();
  };
  const ShrinkResult result = shrink(hide({"root: umask mask=022"}), fails, 3);
  EXPECT_EQ(asked, 3U);
  EXPECT_EQ(result.replays, 3U);
  EXPECT_LT(find_call(result.calls, "umask"), result.calls.size());
}

TEST(shrink, never_asks_about_no_calls_at_all) {
  const auto fails = [](const Calls& calls) {
    EXPECT_FALSE(calls.empty());
    return true;
  };
  EXPECT_EQ(shrink(random_calls(20), fails, kReplays).calls.size(), 1U);
}

}  // namespace
}  // namespace ouro::differential
