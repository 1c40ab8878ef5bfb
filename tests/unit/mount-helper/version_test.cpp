#include "mount-helper/version.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <regex>
#include <string>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

TEST(Version, NamesEverythingInvolved) {
  utsname kernel{};
  ASSERT_EQ(::uname(&kernel), 0);
  const std::string text = version_text({7, 45});
  EXPECT_TRUE(std::regex_search(text, std::regex("^ourofs [0-9]+\\.[0-9]+\\.[0-9]+\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\nlibfuse 3\\.[0-9.]+\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\nliburing [0-9]+\\.[0-9]+\n"))) << text;
  EXPECT_NE(text.find("\nLinux " + std::string(kernel.release) + "\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nFUSE protocol 7.45\n"), std::string::npos) << text;
  const bool is_root = ::geteuid() == 0;
  EXPECT_NE(text.find(is_root ? "\nbacking=kernel from Linux 6.9 on\n"
                              : "\nbacking=kernel is refused: it takes root (CAP_SYS_ADMIN)\n"),
            std::string::npos)
      << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\nlibseccomp [0-9]+\\.[0-9]+\\.[0-9]+\n")))
      << text;
  EXPECT_TRUE(std::regex_search(
      text, std::regex("\nsandbox as root: capabilities chown,.*; not dumpable\n")))
      << text;
  EXPECT_NE(
      text.find("\nsandbox in any case: no new privileges; seccomp filter; restricted rings\n"),
      std::string::npos)
      << text;
}

}  // namespace
}  // namespace ouro::mount_helper
