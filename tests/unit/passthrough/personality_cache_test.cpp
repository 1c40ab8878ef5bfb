#include "passthrough/personality_cache.hpp"

#include <optional>

#include <gtest/gtest.h>

#include "tests/support/counting_handler.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

Credentials owner(uid_t uid) {
  return Credentials::owner({.uid = uid, .gid = uid, .extra_group = {}});
}

class PersonalityCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    OURO_NEEDS_ROOT();
    ::umask(0);
  }

  // Puts a mkdir on the ring that runs as `personality`.
  void add_mkdir(const char* name, std::uint16_t personality, loop::CqeHandler& handler) {
    context_->add_sqe(
        [&](io_uring_sqe& sqe) {
          ::io_uring_prep_mkdirat(&sqe, root_.get(), name, 0755);
          sqe.personality = personality;
        },
        handler);
  }
  // The owner of a directory that is made as `personality`, or the error.
  loop::KernelResult made_by(std::uint16_t personality) {
    testing::CountingHandler handler;
    add_mkdir("made", personality, handler);
    testing::poll_until(*context_, [&] { return handler.calls() == 1; });
    if (handler.result() < 0) return handler.result();
    const auto uid = stat_of(dir_ / "made").st_uid;
    std::filesystem::remove(dir_ / "made");
    return uid;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  const loop::UniqueFd root_ = open_path_fd(dir_.path());
  const std::unique_ptr<loop::AioContext> context_ = loop::AioContext::create().value();
  PersonalityCache cache_{*context_, test_identity()};
};

TEST_F(PersonalityCacheTest, RegistersEachIdentityOnce) {
  const std::uint16_t one = cache_.acquire(owner(1001)).value();
  const std::uint16_t two = cache_.acquire(owner(1002)).value();
  EXPECT_NE(one, 0);
  EXPECT_NE(one, two);
  EXPECT_EQ(cache_.acquire(owner(1001)).value(), one);
  EXPECT_EQ(cache_.acquire(owner(1002)).value(), two);
  EXPECT_EQ(cache_.size(), 2U);
  EXPECT_EQ(made_by(one), 1001);
  EXPECT_EQ(made_by(two), 1002);
  EXPECT_EQ(fs_uid(), 0U);
}

TEST_F(PersonalityCacheTest, EveryPartOfAnIdentityCounts) {
  Credentials member = owner(1001);
  member.extra_group = 5;
  Credentials caller = owner(1001);
  caller.kind = Credentials::Kind::kCaller;
  Credentials other_group = owner(1001);
  other_group.gid = 7;
  std::set<std::uint16_t> ids;
  for (const Credentials& each :
       {owner(1001), member, caller, other_group, Credentials::without_fsetid()}) {
    ids.insert(cache_.acquire(each).value());
  }
  EXPECT_EQ(ids.size(), 5U);
  // A stranger may not write here, its owner-to-be may: the two kinds differ in rights.
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0700), 0);
  EXPECT_EQ(made_by(cache_.acquire(owner(1001)).value()), 1001);
  EXPECT_EQ(made_by(cache_.acquire(caller).value()), -EACCES);
}

TEST_F(PersonalityCacheTest, TheOneUsedLongestAgoLeaves) {
  const std::uint16_t kept = cache_.acquire(owner(1)).value();
  const std::uint16_t oldest = cache_.acquire(owner(2)).value();
  for (uid_t uid = 3; uid <= PersonalityCache::kCapacity; ++uid) {
    ASSERT_TRUE(cache_.acquire(owner(uid)));
  }
  EXPECT_EQ(cache_.size(), PersonalityCache::kCapacity);
  EXPECT_EQ(cache_.acquire(owner(1)).value(), kept);  // used again
  ASSERT_TRUE(cache_.acquire(owner(100'000)));
  EXPECT_EQ(cache_.size(), PersonalityCache::kCapacity);
  EXPECT_EQ(made_by(oldest), -EINVAL) << "not registered any more";
  EXPECT_EQ(made_by(kept), 1);
  EXPECT_EQ(made_by(cache_.acquire(owner(2)).value()), 2) << "registered anew";
}

TEST_F(PersonalityCacheTest, WhatIsQueuedKeepsItsIdentityThroughAnEviction) {
  testing::CountingHandler handler;
  add_mkdir("queued", cache_.acquire(owner(4242)).value(), handler);
  for (uid_t uid = 1; uid <= PersonalityCache::kCapacity; ++uid) {
    ASSERT_TRUE(cache_.acquire(owner(uid)));
  }
  testing::poll_until(*context_, [&] { return handler.calls() == 1; });
  EXPECT_EQ(handler.result(), 0);
  EXPECT_EQ(stat_of(dir_ / "queued").st_uid, 4242U);
}

}  // namespace
}  // namespace ouro::passthrough
