#include "mount-helper/failure.hpp"

#include <cerrno>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

TEST(Failure, IsRenderedInOneLine) {
  EXPECT_EQ(render({ExitCode::kUsage, "unknown option 'x'", ""}), "ourofs: unknown option 'x'");
  EXPECT_EQ(render({ExitCode::kUsage, "unknown option 'x'", "try 'ourofs --help'"}),
            "ourofs: unknown option 'x' (try 'ourofs --help')");
}

TEST(Failure, CarriesTheCodesOfMount8) {
  EXPECT_EQ(static_cast<int>(ExitCode::kOk), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kUsage), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::kSystem), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kMountFailed), 32);
}

TEST(Failure, NamesCannotForgeLines) {
  EXPECT_EQ(quoted("a\nourofs: b\x1b[0m\x7f"), "'a?ourofs: b?[0m?'");
  EXPECT_EQ(quoted("gr\xc3\xbc\xc3\x9f"), "'gr\xc3\xbc\xc3\x9f'");
}

TEST(Failure, ErrnoTextIsEnglish) {
  EXPECT_EQ(errno_text(ENOENT), "No such file or directory");
  EXPECT_EQ(errno_text(99999), "error 99999");
}

}  // namespace
}  // namespace ouro::mount_helper
