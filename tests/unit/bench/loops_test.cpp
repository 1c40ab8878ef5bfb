// Each loop does what its name says, for as long as it was told, and tells what fails.
#include "bench/load/loops.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace ouro::bench {
namespace {

constexpr const char* kNames[] = {"stat", "fresh-stat", "open-close", "create-unlink", "readdir"};

Load load_of(const testing::TempDir& directory, Loop loop = Loop::kStat) {
  return {.loop = loop, .directory = directory.path(), .threads = 2, .files = 5, .seconds = 0.02};
}

TEST(LoadLoops, EveryLoopRunsForItsTimeAndCountsWhatItDid) {
  const testing::TempDir directory;
  ASSERT_TRUE(prepare(load_of(directory)));
  for (const char* name : kNames) {
    const auto loop = loop_named(name);
    ASSERT_TRUE(loop) << name;
    const auto outcome = run(load_of(directory, *loop));
    ASSERT_TRUE(outcome) << name;
    EXPECT_GT(outcome->durations.count(), 0U) << name;
    EXPECT_GE(outcome->seconds, 0.02) << name;
    EXPECT_GT(outcome->durations.percentile_ns(0.5), 0U) << name;
    EXPECT_FALSE(std::filesystem::exists(directory / "thread0/created")) << name;
  }
  EXPECT_FALSE(loop_named("nonsense"));
}

TEST(LoadLoops, PreparingKeepsWhatIsThere) {
  const testing::TempDir directory;
  ASSERT_TRUE(prepare(load_of(directory)));
  struct stat before {};
  ASSERT_EQ(::stat((directory / "thread1/file4").c_str(), &before), 0);
  ASSERT_TRUE(prepare(load_of(directory)));
  struct stat after {};
  ASSERT_EQ(::stat((directory / "thread1/file4").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST(LoadLoops, AListThatLacksNamesIsAnError) {
  const testing::TempDir directory;
  ASSERT_TRUE(prepare(load_of(directory)));
  Load load = load_of(directory, Loop::kReaddir);
  load.files = 50;
  const auto outcome = run(load);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().value(), EIO);
}

TEST(LoadLoops, WhatFailsIsToldAndEndsEveryThread) {
  const testing::TempDir directory;
  ASSERT_TRUE(prepare(load_of(directory)));
  std::filesystem::remove(directory / "thread1/file3");
  for (const Loop loop : {Loop::kStat, Loop::kFreshStat, Loop::kOpenClose}) {
    Load load = load_of(directory, loop);
    load.seconds = 60;
    const auto outcome = run(load);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().value(), ENOENT);
  }
  std::filesystem::remove_all(directory / "thread1");
  const auto outcome = run(load_of(directory));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().value(), ENOENT);
}

}  // namespace
}  // namespace ouro::bench
