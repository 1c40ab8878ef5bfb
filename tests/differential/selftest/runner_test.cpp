// The whole machinery on two native directories: silent when both tell the truth, and loud, with a
// short sequence, when the side of the mount is made to lie.
#include "tests/differential/runner.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/differential/generator.hpp"
#include "tests/differential/investigate.hpp"
#include "tests/differential/known_differences.hpp"
#include "tests/differential/report.hpp"
#include "tests/differential/selftest/selftest.hpp"

namespace ouro::differential {
namespace {

constexpr unsigned kReplays = 1500;

class Runs : public ::testing::Test {
 protected:
  void SetUp() override {
    workers_ = start_workers();
    ASSERT_NE(workers_, nullptr);
    setup_ = directories_.setup();
  }

  [[nodiscard]] int identities() const { return static_cast<int>(workers_->names().size()); }

  std::optional<Failure> run(const Sequence& sequence) {
    Runner runner(setup_, *workers_, known_);
    auto failure = runner.run(sequence, tally_);
    EXPECT_TRUE(failure) << runner.trouble();
    return failure ? *std::move(failure) : std::nullopt;
  }

  Report investigate_with(const Sequence& sequence, const Failure& failure) {
    Runner runner(setup_, *workers_, known_);
    auto report = investigate(runner, sequence, failure, kReplays);
    EXPECT_TRUE(report) << runner.trouble();
    return report.value_or(Report{sequence, failure});
  }

  TwoDirectories directories_;
  std::unique_ptr<Workers> workers_;
  KnownDifferences known_;
  Runner::Setup setup_;
  Tally tally_;
};

TEST_F(Runs, two_native_directories_do_not_differ) {
  const SequenceShape shape{21, 120, identities(), 4};
  for (std::uint64_t number = 0; number < 12; ++number) {
    const Sequence sequence = generate_sequence(shape, number);
    const auto failure = run(sequence);
    EXPECT_FALSE(failure) << format_report({sequence, *failure}, kNames, "", Detail::kFull);
  }
  EXPECT_EQ(tally_.calls, 12U * 120);
  EXPECT_GT(tally_.by_kind["openat"].succeeded, 50U);
}

// Says of every file that has been renamed that it is one byte longer.
struct LengtheningLie {
  bool renamed = false;
  void operator()(const Call& call, Outcome& mount) {
    const std::string row = call.row->name;
    if (row == "openat") renamed = false;  // the first call of a replay
    if (row == "rename" && mount.error() == 0) renamed = true;
    if (!renamed || row != "stat" || mount.error() != 0) return;
    Outcome lie;
    for (const Fact& fact : mount.facts()) {
      if (fact.name == "size") lie.number("size", fact.number + 1);
      if (fact.name == "type") lie.text("type", fact.text);
    }
    Outcome truth = mount;
    lie.when = truth.when;
    mount = lie;
  }
};

Sequence lying_sequence() {
  Sequence sequence;
  sequence.calls = make_calls(
      {R"(root: openat slot=0 dir=cwd path="f0" flags=O_CREAT|O_RDWR mode=0666)",
       "root: write slot=0 length=4096 fill=A memory=aligned", "root: umask mask=022",
       R"(root: mkdirat dir=cwd path="d0" mode=0777)", R"(root: rename from="f0" to="f1")",
       R"(root: symlink target="f0" path="l0")", R"(root: lstat path="f1")",
       R"(root: stat path="f1" +probe)", "root: close slot=0", R"(root: unlink path="f1")"});
  return sequence;
}

TEST_F(Runs, a_lie_is_found_and_its_sequence_made_short) {
  setup_.distort_mount = LengtheningLie();
  const auto failure = run(lying_sequence());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->call_index, 7U);
  EXPECT_EQ(failure->where, "stat");
  EXPECT_EQ(failure->differences[0].field, "mode");
  const Report report = investigate_with(lying_sequence(), *failure);
  EXPECT_TRUE(report.reproduced);
  EXPECT_EQ(
      lines_of(report.sequence.calls),
      std::vector<std::string>({R"(root: openat slot=0 dir=cwd path="f0" flags=O_CREAT mode=0666)",
                                R"(root: rename from="f0" to="f1")", R"(root: stat path="f1")"}));
  EXPECT_EQ(report.failure.call_index, 2U);
}

TEST_F(Runs, a_report_can_be_replayed) {
  setup_.distort_mount = LengtheningLie();
  const auto failure = run(lying_sequence());
  ASSERT_TRUE(failure);
  const Report report = investigate_with(lying_sequence(), *failure);
  std::string bad_line;
  const auto again = parse_replay(
      format_report(report, kNames, "how to reproduce it", Detail::kFull), kNames, bad_line);
  ASSERT_TRUE(again) << bad_line;
  EXPECT_EQ(lines_of(again->calls), lines_of(report.sequence.calls));
  EXPECT_TRUE(run(*again));
  EXPECT_FALSE(parse_replay("root: fsync slot=0\nnonsense\n", kNames, bad_line));
  EXPECT_EQ(bad_line, "nonsense");
}

TEST_F(Runs, a_known_difference_is_counted_and_may_end_the_sequence) {
  setup_.distort_mount = [](const Call& call, Outcome& mount) {
    if (call.row->name != std::string("symlink")) return;
    errno = EPERM;
    mount.finish(-1);
  };
  std::string complaint;
  const auto known = KnownDifferences::parse(
      "<!-- entries -->\n## no-symlinks\n- call: symlink\n- field: errno\n- native: ok\n"
      "- mount: EPERM\n- then: end-sequence\n- reason: a lie\n- kernel: none\n",
      complaint);
  ASSERT_TRUE(known) << complaint;
  EXPECT_TRUE(run(lying_sequence()));
  known_ = *known;
  tally_ = {};
  EXPECT_FALSE(run(lying_sequence()));
  EXPECT_EQ(tally_.known["no-symlinks"], 1U);
  EXPECT_EQ(tally_.ended_early, 1U);
  EXPECT_EQ(tally_.calls, 6U);
}

TEST_F(Runs, a_change_that_no_call_sees_is_found_in_the_final_trees) {
  const std::string path = directories_.mount_root() + "/d0";
  setup_.distort_mount = [path](const Call& call, Outcome&) {
    if (call.row->name == std::string("umask")) ::rename(path.c_str(), (path + "x").c_str());
  };
  Sequence sequence;
  sequence.calls = make_calls({R"(root: mkdirat dir=cwd path="d0" mode=0777)",
                               "root: umask mask=022", R"(root: readlink path="l0" bytes=10)"});
  const auto failure = run(sequence);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->where, "tree-mount");
  EXPECT_EQ(failure->call_index, 3U);
  const Report report = investigate_with(sequence, *failure);
  EXPECT_TRUE(report.reproduced);
  EXPECT_EQ(report.sequence.calls.size(), 2U);
}

TEST_F(Runs, every_kind_of_time_that_differs_is_found) {
  for (const char* stamps : {"atime=2000 mtime=omit", "atime=omit mtime=2000"}) {
    const std::string path = directories_.mount_root() + "/f0";
    setup_.distort_mount = [path](const Call& call, Outcome&) {
      const timespec back[] = {{1, 0}, {1, 0}};
      if (call.row->name == std::string("umask")) ::utimensat(AT_FDCWD, path.c_str(), back, 0);
    };
    Sequence sequence;
    sequence.calls =
        make_calls({R"(root: openat slot=0 dir=cwd path="f0" flags=O_CREAT mode=0666)",
                    std::string("root: futimens slot=0 ") + stamps, "root: umask mask=0"});
    EXPECT_TRUE(run(sequence)) << stamps;
  }
}

TEST_F(Runs, a_replay_that_does_not_fail_again_is_reported_as_such) {
  int runs = 0;
  setup_.distort_mount = [&runs](const Call& call, Outcome& mount) {
    if (call.row->name != std::string("umask") || runs++ > 0) return;
    mount.number("seen", 1);
  };
  Runner runner(setup_, *workers_, known_);
  setup_.distort_mount = nullptr;
  const auto failure = runner.run(lying_sequence(), tally_);
  ASSERT_TRUE(failure);
  ASSERT_TRUE(*failure);
  const Report report = investigate_with(lying_sequence(), **failure);
  EXPECT_FALSE(report.reproduced);
  EXPECT_EQ(report.sequence.calls.size(), lying_sequence().calls.size());
  EXPECT_EQ(report.failure.differences[0].field, "seen");
  std::string bad_line;
  for (const auto& [detail, calls] :
       {std::pair(Detail::kFull, 10U), std::pair(Detail::kBrief, 1U)}) {
    const auto parsed = parse_replay(format_report(report, kNames, "", detail), kNames, bad_line);
    ASSERT_TRUE(parsed) << bad_line;
    EXPECT_EQ(parsed->calls.size(), calls);
  }
}

TEST_F(Runs, identities_are_users_of_their_own) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user needs root";
  struct stat made {};
  const std::string path = directories_.mount_root() + "/f0";
  setup_.distort_mount = [&made, path](const Call&, Outcome&) { ::stat(path.c_str(), &made); };
  Sequence sequence;
  sequence.calls = make_calls(
      {R"(u1002: openat slot=0 dir=cwd path="f0" flags=O_CREAT|O_RDWR mode=0666)",
       "u1002: fchown slot=0 uid=keep gid=2001", "u1001: fchown slot=0 uid=keep gid=1001"});
  EXPECT_FALSE(run(sequence));
  EXPECT_EQ(made.st_uid, 1002U);
  EXPECT_EQ(made.st_gid, 2001U);
  EXPECT_EQ(tally_.by_kind["fchown"].succeeded, 1U);
  EXPECT_EQ(tally_.by_kind["fchown"].errors[EBADF], 1U);
}

TEST_F(Runs, nothing_is_left_behind) {
  EXPECT_FALSE(run(generate_sequence({5, 100, identities(), 0}, 1)));
  EXPECT_TRUE(std::filesystem::is_empty(directories_.sides().native));
  EXPECT_TRUE(std::filesystem::is_empty(directories_.sides().mount));
}

TEST(channel, silence_and_the_end_are_told_apart) {
  auto ends = make_channel_pair();
  ASSERT_TRUE(ends);
  Channel channel(std::move(ends->first));
  EXPECT_EQ(channel.receive(10).error().value(), ETIMEDOUT);
  ends->second.reset();
  EXPECT_EQ(channel.receive(1000).error().value(), ECONNRESET);
}

}  // namespace
}  // namespace ouro::differential
