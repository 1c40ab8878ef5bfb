// Tests of Ring: queue limits, overflow, waiting, and whose credentials an SQE runs under.
#include "loop/ring.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/timer.hpp"
#include "loop/unique_fd.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/ring_info.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/watchdog.hpp"

namespace ouro::loop {
namespace {

constexpr unsigned kSqEntries = 8;
constexpr unsigned kCqEntries = 16;

class RingTest : public ::testing::Test {
 protected:
  void queue_nop(std::uint64_t user_data) {
    io_uring_sqe* sqe = ring_->next_sqe();
    ASSERT_NE(sqe, nullptr);
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = user_data;
  }

  // Everything that has completed and can be had without waiting.
  [[nodiscard]] std::vector<std::uint64_t> reap_all() {
    std::vector<std::uint64_t> seen;
    do {
      ring_->enter(0);
    } while (ring_->reap([&](std::uint64_t user_data, const Cqe&) { seen.push_back(user_data); }) >
             0);
    return seen;
  }

  const testing::Watchdog watchdog_{"RingTest", std::chrono::seconds(60)};
  const std::unique_ptr<Ring> ring_ =
      Ring::create({.sq_entries = kSqEntries, .cq_entries = kCqEntries}).value();
};

TEST_F(RingTest, ANopComesBackWithItsUserData) {
  queue_nop(42);
  EXPECT_EQ(ring_->enter(-1), 1);
  std::vector<std::int32_t> results;
  EXPECT_EQ(ring_->reap([&](std::uint64_t user_data, const Cqe& cqe) {
    EXPECT_EQ(user_data, 42U);
    results.push_back(cqe.res);
  }),
            1U);
  EXPECT_EQ(results, std::vector{0});
}

TEST_F(RingTest, AFullQueueGivesNoSqeUntilItIsSubmitted) {
  for (unsigned i = 0; i < kSqEntries; ++i) queue_nop(i);
  EXPECT_EQ(ring_->next_sqe(), nullptr);
  EXPECT_EQ(ring_->enter(0), kSqEntries);
  queue_nop(kSqEntries);
  std::vector<std::uint64_t> expected(kSqEntries + 1);
  std::iota(expected.begin(), expected.end(), 0U);
  EXPECT_EQ(reap_all(), expected);
}

TEST_F(RingTest, SqesAreClearedHoweverTheyWereUsedBefore) {
  for (unsigned i = 0; i < kSqEntries; ++i) {
    io_uring_sqe* sqe = ring_->next_sqe();
    ASSERT_NE(sqe, nullptr);
    std::memset(sqe, 0xee, sizeof *sqe);
    sqe->flags = 0;
  }
  std::vector<std::int32_t> results;
  do {
    ring_->enter(0);
    ring_->reap([&](std::uint64_t, const Cqe& cqe) { results.push_back(cqe.res); });
  } while (results.size() < kSqEntries);
  EXPECT_EQ(results, std::vector<std::int32_t>(kSqEntries, -EINVAL));

  constexpr std::array<unsigned char, sizeof(io_uring_sqe)> kClear{};
  for (unsigned i = 0; i < kSqEntries; ++i) {
    const io_uring_sqe* sqe = ring_->next_sqe();
    ASSERT_NE(sqe, nullptr);
    auto bytes = kClear;
    std::memcpy(bytes.data(), sqe, sizeof *sqe);
    EXPECT_EQ(bytes, kClear);
  }
}

// Four times the queue in completions before the first is reaped.
TEST_F(RingTest, OverflowingTheCompletionQueueLosesNothingAndKeepsTheOrder) {
  std::vector<std::uint64_t> expected(std::size_t{4} * kCqEntries);
  std::iota(expected.begin(), expected.end(), 1U);
  for (const std::uint64_t user_data : expected) {
    queue_nop(user_data);
    ring_->enter(0);
  }
  ASSERT_TRUE(testing::cq_has_overflowed(ring_->fd())) << "the test did not reach its subject";
  EXPECT_EQ(reap_all(), expected);
  EXPECT_FALSE(testing::cq_has_overflowed(ring_->fd()));
}

TEST_F(RingTest, EnterSkipsTheSystemCallWhenThereIsNothingToDo) {
  const std::uint64_t before = ring_->enter_calls();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ring_->enter(0), 0);
  EXPECT_EQ(ring_->enter_calls(), before);
  queue_nop(1);
  ring_->enter(0);
  EXPECT_EQ(ring_->enter_calls(), before + 1);
}

// A completion that the kernel posts only when it is entered: whoever looks at the queue alone
// spins for ever.
TEST_F(RingTest, NeedsEnterSeesCompletionsThatAreNotPostedYet) {
  const testing::Pipe pipe;
  io_uring_sqe* const sqe = ring_->next_sqe();
  ASSERT_NE(sqe, nullptr);
  ::io_uring_prep_poll_add(sqe, pipe.reader.get(), POLLIN);
  EXPECT_TRUE(ring_->needs_enter());
  EXPECT_EQ(ring_->enter(0), 1);
  EXPECT_FALSE(ring_->needs_enter());
  pipe.put();
  EXPECT_TRUE(ring_->needs_enter());
  EXPECT_EQ(reap_all().size(), 1U);
  EXPECT_FALSE(ring_->needs_enter());
}

TEST_F(RingTest, EnterEndsWithItsTimeout) {
  constexpr std::int64_t kTimeoutNs = 3'000'000;
  const std::int64_t start_ns = monotonic_now_ns();
  EXPECT_EQ(ring_->enter(kTimeoutNs), -ETIME);
  EXPECT_GE(monotonic_now_ns() - start_ns, kTimeoutNs);
}

TEST_F(RingTest, EnterDoesNotWaitWhileACompletionIsUnreaped) {
  queue_nop(1);
  EXPECT_EQ(ring_->enter(0), 1);
  const std::uint64_t calls = ring_->enter_calls();
  EXPECT_EQ(ring_->enter(-1), 0);
  EXPECT_EQ(ring_->enter_calls(), calls);
  EXPECT_EQ(reap_all(), std::vector<std::uint64_t>{1});
}

TEST_F(RingTest, SubmitAllHandsOverEverySqeAndDoesNotWait) {
  EXPECT_EQ(ring_->submit_all(), 0);
  EXPECT_EQ(ring_->enter_calls(), 0U);
  for (unsigned i = 0; i < kSqEntries; ++i) queue_nop(i);
  EXPECT_EQ(ring_->submit_all(), 0);
  for (unsigned i = 0; i < kSqEntries; ++i) EXPECT_NE(ring_->next_sqe(), nullptr);
}

TEST_F(RingTest, KnowsWhatTheKernelSupports) {
  EXPECT_TRUE(ring_->supports(IORING_OP_NOP));
  EXPECT_TRUE(ring_->supports(IORING_OP_POLL_ADD));
  EXPECT_TRUE(ring_->supports(IORING_OP_READ));
  EXPECT_FALSE(ring_->supports(255));
}

TEST_F(RingTest, TakesTheBestSetUpThatTheKernelHas) {
  utsname kernel{};
  ASSERT_EQ(::uname(&kernel), 0);
  int major = 0;
  int minor = 0;
  ASSERT_EQ(std::sscanf(kernel.release, "%d.%d", &major, &minor), 2);
  if (std::pair(major, minor) < std::pair(6, 1)) {
    GTEST_SKIP() << "DEFER_TASKRUN needs Linux 6.1, this is " << kernel.release;
  }
  constexpr unsigned kWanted = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  EXPECT_EQ(ring_->setup_flags() & kWanted, kWanted);
}

TEST_F(RingTest, AnotherThreadCannotRegisterWithASingleIssuerRing) {
  if ((ring_->setup_flags() & IORING_SETUP_SINGLE_ISSUER) == 0) {
    GTEST_SKIP() << "this kernel has no IORING_SETUP_SINGLE_ISSUER (6.0)";
  }
  Result<std::uint16_t> foreign = fail(EDOM);
  std::thread([&] { foreign = ring_->register_personality(); }).join();
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error(), Errno(EEXIST));
}

TEST(RingCreateTest, RefusesSizesThatCannotBe) {
  const auto no_entries = Ring::create({.sq_entries = 0});
  ASSERT_FALSE(no_entries);
  EXPECT_EQ(no_entries.error(), Errno(EINVAL));
  const auto small_cq = Ring::create({.sq_entries = 64, .cq_entries = 8});
  ASSERT_FALSE(small_cq);
  EXPECT_EQ(small_cq.error(), Errno(EINVAL));
}

TEST(RingCreateTest, ReportsThatThereAreNoDescriptorsLeft) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = Ring::create({});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errno(EMFILE));
}

// --- personalities -------------------------------------------------------------------------------

class PersonalityTest : public RingTest {
 protected:
  static constexpr uid_t kOther = 1001;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root may take the fsuid of somebody else";
  }

  [[nodiscard]] Result<std::uint16_t> register_other() {
    ::setfsgid(kOther);
    ::setfsuid(kOther);
    auto personality = ring_->register_personality();
    ::setfsuid(0);
    ::setfsgid(0);
    return personality;
  }

  [[nodiscard]] std::int32_t create_file(const std::string& path, std::uint16_t personality) {
    io_uring_sqe* sqe = ring_->next_sqe();
    ::io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC,
                           0600);
    sqe->personality = personality;
    std::int32_t result = 0;
    unsigned reaped = 0;
    while (reaped == 0) {
      ring_->enter(-1);
      reaped = ring_->reap([&](std::uint64_t, const Cqe& cqe) { result = cqe.res; });
    }
    return result;
  }

  [[nodiscard]] static uid_t owner(const std::string& path) {
    struct stat found {};
    EXPECT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_uid, found.st_gid);
    return found.st_uid;
  }

  const testing::TempDir dir_;
};

TEST_F(PersonalityTest, AFileBelongsToThePersonalityThatCreatedIt) {
  ASSERT_EQ(::chmod(dir_.path().c_str(), 01777), 0);
  const std::uint16_t other = register_other().value();
  const UniqueFd others(create_file(dir_ / "others", other));
  ASSERT_TRUE(others);
  EXPECT_EQ(owner(dir_ / "others"), kOther);

  const UniqueFd own(create_file(dir_ / "own", 0));
  ASSERT_TRUE(own);
  EXPECT_EQ(owner(dir_ / "own"), 0U);
}

// Not only the owner: the capabilities that override permissions are gone as well.
TEST_F(PersonalityTest, PermissionsAreThoseOfThePersonality) {
  const std::uint16_t other = register_other().value();
  EXPECT_EQ(create_file(dir_ / "denied", other), -EACCES);
}

// The kernel looks the personality up when it takes the SQE, so it may go right after that.
TEST_F(PersonalityTest, IsNeededNoLongerThanUntilSubmission) {
  ASSERT_EQ(::chmod(dir_.path().c_str(), 01777), 0);
  const std::uint16_t other = register_other().value();
  const std::string path = dir_ / "late";
  io_uring_sqe* sqe = ring_->next_sqe();
  ::io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  sqe->personality = other;
  sqe->flags |= IOSQE_ASYNC;  // it runs later, in a worker
  ASSERT_EQ(ring_->submit_all(), 0);
  ring_->unregister_personality(other);
  UniqueFd file;
  while (!file) {
    ring_->enter(-1);
    ring_->reap([&](std::uint64_t, const Cqe& cqe) {
      ASSERT_GE(cqe.res, 0);
      file.reset(cqe.res);
    });
  }
  EXPECT_EQ(owner(path), kOther);
}

TEST_F(PersonalityTest, IsUnknownOnceUnregistered) {
  const std::uint16_t other = register_other().value();
  ring_->unregister_personality(other);
  EXPECT_EQ(create_file(dir_ / "refused", other), -EINVAL);
}

}  // namespace
}  // namespace ouro::loop
