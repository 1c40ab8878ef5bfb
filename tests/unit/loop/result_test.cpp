// Tests of Errno, Result and the OURO_TRY macros.
#include "loop/result.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>

#include <gtest/gtest.h>

namespace ouro::loop {
namespace {

TEST(ResultTest, FromLibcKeepsValuesAndTurnsErrnoNegative) {
  EXPECT_EQ(from_libc(0), 0);
  EXPECT_EQ(from_libc(7), 7);
  EXPECT_EQ(from_libc(std::numeric_limits<std::int64_t>::max()),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(from_libc(::close(-1)), -EBADF);
  EXPECT_EQ(from_libc(::open("/no/such/file", O_RDONLY | O_CLOEXEC)), -ENOENT);
}

TEST(ResultTest, ToResultCarriesTheValueOrTheErrno) {
  EXPECT_EQ(to_result(0).value(), 0);
  EXPECT_EQ(to_result(std::int64_t{1} << 40).value(), std::int64_t{1} << 40);
  const Result<std::int64_t> failed = to_result(-ENOSPC);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errno(ENOSPC));
  EXPECT_EQ(failed.error().value(), ENOSPC);
}

TEST(ResultTest, ToStatusForgetsTheValueOnly) {
  EXPECT_TRUE(to_status(0));
  EXPECT_TRUE(to_status(12));
  const Status failed = to_status(-EIO);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errno(EIO));
}

TEST(ResultTest, FailMakesAnErrorOfAnyResult) {
  const Result<std::unique_ptr<int>> failed = fail(EMFILE);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errno(EMFILE));
  EXPECT_FALSE(Errno(EMFILE) == Errno(ENFILE));
}

[[nodiscard]] Status check(int& passed, Status first, Status second) {
  OURO_TRY(first);
  ++passed;
  OURO_TRY(second);
  ++passed;
  return {};
}

TEST(ResultTest, TryReturnsTheFirstErrorAndGoesNoFurther) {
  int passed = 0;
  EXPECT_TRUE(check(passed, {}, {}));
  EXPECT_EQ(passed, 2);

  passed = 0;
  const Status first = check(passed, fail(EPERM), fail(EIO));
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error(), Errno(EPERM));
  EXPECT_EQ(passed, 0);

  const Status second = check(passed, {}, fail(EIO));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), Errno(EIO));
  EXPECT_EQ(passed, 1);
}

[[nodiscard]] Result<std::unique_ptr<int>> boxed(int value) {
  if (value < 0) return fail(-value);
  return std::make_unique<int>(value);
}

// Two in one scope, of a type that can only be moved, into a result of another type.
[[nodiscard]] Result<int> sum(int left, int right) {
  OURO_TRY_ASSIGN(const auto a, boxed(left));
  OURO_TRY_ASSIGN(const auto b, boxed(right));
  return *a + *b;
}

TEST(ResultTest, TryAssignBindsTheValueOrReturnsTheError) {
  EXPECT_EQ(sum(2, 3).value(), 5);
  EXPECT_EQ(sum(-ENOENT, 3).error(), Errno(ENOENT));
  EXPECT_EQ(sum(2, -ENOMEM).error(), Errno(ENOMEM));
}

}  // namespace
}  // namespace ouro::loop
