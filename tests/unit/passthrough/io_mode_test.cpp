// Which way the openings of an inode take, one after another and all at once.
#include "passthrough/io_mode.hpp"

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::passthrough {
namespace {

// Files that are given, or refused with `refuses`.
class ScriptedFiles final : public GivenFiles {
 public:
  loop::Result<int> give(int /*fd*/, const LastingCredentials* identity) override {
    ++asked;
    if (refuses != 0) return loop::fail(refuses);
    given_as = identity != nullptr ? std::optional(*identity) : std::nullopt;
    numbers.insert(++last);
    return last;
  }
  void take_back(int number) override { EXPECT_EQ(numbers.erase(number), 1U) << number; }

  int refuses = 0;
  int asked = 0;
  int last = 0;
  std::set<int> numbers;  // in force
  std::optional<LastingCredentials> given_as;
};

constexpr int kFd = 7;
const IoMode::Opening kReads{};
const IoMode::Opening kMaps{.writes = true, .maps_writable = true, .writer = {}};

IoMode::Opening writes_as(uid_t uid) {
  return {.writes = true,
          .writer = LastingCredentials{
              Credentials::owner({.uid = uid, .gid = uid, .extra_group = {}}), {}}};
}

class IoModeTest : public ::testing::Test {
 protected:
  IoMode::Share join(const IoMode::Opening& opening = kReads) {
    return IoMode::join(mode_, files_, kFd, opening);
  }

  std::shared_ptr<IoMode> mode_ = std::make_shared<IoMode>();
  std::shared_ptr<ScriptedFiles> files_ = std::make_shared<ScriptedFiles>();
};

TEST_F(IoModeTest, AllOpeningsOfATimeHaveOneNumber) {
  {
    const auto first = join();
    EXPECT_EQ(first.way(), DataWay::kGiven);
    EXPECT_EQ(first.number(), 1);
    const auto second = join(kMaps);
    EXPECT_EQ(second.way(), DataWay::kGiven);
    EXPECT_EQ(second.number(), 1);
    EXPECT_EQ(files_->asked, 1);
  }
  EXPECT_TRUE(files_->numbers.empty()) << "it is taken back with the last of them";
  EXPECT_EQ(join().number(), 2);
}

TEST_F(IoModeTest, IsInForceUntilTheLastHasLeft) {
  auto first = std::make_unique<IoMode::Share>(join());
  auto second = std::make_unique<IoMode::Share>(join());
  first.reset();
  EXPECT_EQ(files_->numbers, std::set{1});
  EXPECT_EQ(join().number(), 1);
  EXPECT_EQ(files_->numbers, std::set{1});
  second.reset();
  EXPECT_TRUE(files_->numbers.empty());
}

TEST_F(IoModeTest, WhatWasBegunByRequestsStaysSo) {
  files_->refuses = ELOOP;
  {
    const auto first = join();
    EXPECT_EQ(first.way(), DataWay::kRequests);
    EXPECT_EQ(first.number(), 0);
    EXPECT_EQ(first.refusal(), ELOOP);
    files_->refuses = 0;
    const auto second = join(kMaps);
    EXPECT_EQ(second.way(), DataWay::kRequests) << "the client may have pages";
    EXPECT_EQ(second.refusal(), 0) << "nobody was asked";
    EXPECT_FALSE(second.begins_unseen());
    EXPECT_EQ(files_->asked, 1);
  }
  EXPECT_EQ(join().way(), DataWay::kGiven) << "when all have left, it may";
}

TEST_F(IoModeTest, WhatMayNotBeGivenBeginsByRequests) {
  const IoMode::Opening truncates{.may_be_given = false, .writes = true, .writer = {}};
  {
    const auto first = join(truncates);
    EXPECT_EQ(first.way(), DataWay::kRequests);
    EXPECT_EQ(first.refusal(), 0);
    EXPECT_EQ(join().way(), DataWay::kRequests);
    EXPECT_EQ(files_->asked, 0);
  }
  const auto given = join();
  EXPECT_EQ(join(truncates).way(), DataWay::kGiven) << "there is no other way";
}

TEST_F(IoModeTest, WhatWasGivenStaysSo) {
  const auto first = join();
  files_->refuses = ENOMEM;
  EXPECT_EQ(join().way(), DataWay::kGiven);
  EXPECT_EQ(files_->asked, 1);
}

TEST_F(IoModeTest, WhoHasOtherGroupsIsSomebodyElse) {
  auto member = writes_as(1);
  member.writer->groups = {1234};
  const auto first = join(member);
  EXPECT_EQ(files_->given_as->groups, member.writer->groups);
  EXPECT_EQ(join(member).way(), DataWay::kGiven);
  EXPECT_EQ(join(writes_as(1)).way(), DataWay::kMixed);
}

TEST_F(IoModeTest, WhoWritesAsSomebodyElseDoesItByRequests) {
  const auto first = join(writes_as(1));
  EXPECT_EQ(files_->given_as->credentials.uid, 1U);
  const auto same = join(writes_as(1));
  EXPECT_EQ(same.way(), DataWay::kGiven);
  const auto other = join(writes_as(2));
  EXPECT_EQ(other.way(), DataWay::kMixed);
  EXPECT_EQ(other.number(), 1) << "what is mapped goes the way of all";
  auto reader = writes_as(2);
  reader.writes = false;
  EXPECT_EQ(join(reader).way(), DataWay::kGiven);
  EXPECT_EQ(join(kMaps).way(), DataWay::kMixed) << "root is somebody else, too";
}

TEST_F(IoModeTest, IsGivenAsTheFirstOpenerEvenIfHeReads) {
  auto reader = writes_as(1);
  reader.writes = false;
  const auto first = join(reader);
  EXPECT_EQ(join(writes_as(1)).way(), DataWay::kGiven);
  EXPECT_EQ(join(writes_as(2)).way(), DataWay::kMixed);
}

TEST_F(IoModeTest, WhoWantsRequestsHasThemBesideTheOthers) {
  const auto first = join({.by_requests = true, .writer = {}});
  EXPECT_EQ(first.way(), DataWay::kMixed);
  EXPECT_EQ(first.number(), 1);
  EXPECT_EQ(join().way(), DataWay::kGiven);
}

TEST_F(IoModeTest, ChangesUnseenBeginWithTheFirstMapping) {
  EXPECT_FALSE(join().begins_unseen());
  EXPECT_FALSE(join({.writes = true, .writer = {}}).begins_unseen()) << "which cannot map";
  EXPECT_FALSE(mode_->changes_unseen());
  EXPECT_TRUE(join(kMaps).begins_unseen());
  EXPECT_TRUE(mode_->changes_unseen()) << "a mapping outlives its descriptor";
  EXPECT_FALSE(join(kMaps).begins_unseen()) << "it is known";
}

TEST_F(IoModeTest, AShareThatMovesIsCountedOnce) {
  IoMode::Share kept;
  {
    auto share = join();
    kept = std::move(share);
  }
  EXPECT_EQ(files_->numbers, std::set{1});
  kept = IoMode::Share();
  EXPECT_TRUE(files_->numbers.empty());
}

TEST_F(IoModeTest, OutlivesTheMount) {
  const auto share = join();
  files_.reset();  // which has ended, and with it all that it was given
}

// Openings of both kinds and their ends, at once: there is never more than one number in force, and
// nobody has one that is not.
TEST_F(IoModeTest, OpeningsRace) {
  class CountingFiles final : public GivenFiles {
   public:
    loop::Result<int> give(int /*fd*/, const LastingCredentials* /*identity*/) override {
      const int number = ++last_;
      if (number % 3 == 0) return loop::fail(ENOMEM);
      EXPECT_EQ(in_force.exchange(number), 0);
      return number;
    }
    void take_back(int number) override { EXPECT_EQ(in_force.exchange(0), number); }
    std::atomic<int> in_force = 0;

   private:
    std::atomic<int> last_ = 0;
  };
  const auto files = std::make_shared<CountingFiles>();
  std::vector<std::thread> threads;
  std::atomic<int> given = 0;
  std::atomic<int> requests = 0;
  constexpr int kThreads = 4;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        const auto share = IoMode::join(mode_, files, kFd, kReads);
        ++(share.way() == DataWay::kGiven ? given : requests);
        EXPECT_EQ(files->in_force, share.number());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files->in_force, 0);
  EXPECT_GT(given, 0);
  EXPECT_GT(requests, 0);
}

}  // namespace
}  // namespace ouro::passthrough
