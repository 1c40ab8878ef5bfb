// Tests of UniqueFd.
#include "loop/unique_fd.hpp"

#include <fcntl.h>

#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

namespace ouro::loop {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);
static_assert(std::is_nothrow_move_assignable_v<UniqueFd>);

[[nodiscard]] int open_null() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}
[[nodiscard]] bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFdTest, IsEmptyByDefault) {
  const UniqueFd fd;
  EXPECT_FALSE(fd);
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFdTest, AFailedOpenMakesItEmpty) {
  const UniqueFd fd(::open("/no/such/file", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(fd);
}

TEST(UniqueFdTest, ClosesWhenItGoesAway) {
  const int raw = open_null();
  {
    const UniqueFd fd(raw);
    EXPECT_TRUE(fd);
    EXPECT_EQ(fd.get(), raw);
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFdTest, DescriptorZeroIsOwnedToo) {
  const UniqueFd saved(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  ::close(STDIN_FILENO);
  {
    const UniqueFd zero(open_null());
    ASSERT_EQ(zero.get(), 0);
    EXPECT_TRUE(zero);
  }
  EXPECT_FALSE(is_open(0));
  if (saved) ::dup2(saved.get(), STDIN_FILENO);
}

TEST(UniqueFdTest, MovingPassesTheDescriptorOn) {
  const int raw = open_null();
  UniqueFd from(raw);
  const UniqueFd to(std::move(from));
  EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): what is left is the point
  EXPECT_EQ(to.get(), raw);
  EXPECT_TRUE(is_open(raw));
}

TEST(UniqueFdTest, MoveAssignmentClosesWhatWasHeld) {
  const int old_raw = open_null();
  const int new_raw = open_null();
  UniqueFd to(old_raw);
  UniqueFd from(new_raw);
  to = std::move(from);
  EXPECT_FALSE(is_open(old_raw));
  EXPECT_EQ(to.get(), new_raw);
  EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): what is left is the point
}

TEST(UniqueFdTest, SelfMoveKeepsTheDescriptor) {
  UniqueFd fd(open_null());
  UniqueFd& alias = fd;
  fd = std::move(alias);
  EXPECT_TRUE(fd);
  EXPECT_TRUE(is_open(fd.get()));
}

TEST(UniqueFdTest, ReleaseGivesTheDescriptorAway) {
  UniqueFd fd(open_null());
  const int raw = fd.release();
  EXPECT_FALSE(fd);
  fd.reset();
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

TEST(UniqueFdTest, ResetReplacesAndEmpties) {
  const int old_raw = open_null();
  const int new_raw = open_null();
  UniqueFd fd(old_raw);
  fd.reset(new_raw);
  EXPECT_FALSE(is_open(old_raw));
  EXPECT_EQ(fd.get(), new_raw);
  fd.reset();
  EXPECT_FALSE(fd);
  EXPECT_FALSE(is_open(new_raw));
}

}  // namespace
}  // namespace ouro::loop
