#include "mount-helper/kernel_setting.hpp"

#include <cerrno>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace ouro::mount_helper {
namespace {

TEST(KernelSetting, IsReadAndWritten) {
  const testing::TempDir directory;
  const KernelSetting setting(directory / "limit");
  EXPECT_EQ(setting.path(), directory / "limit");
  EXPECT_EQ(setting.read(), loop::fail(ENOENT));
  EXPECT_EQ(setting.write(1), loop::fail(ENOENT)) << "nothing is made where there is none";
  std::ofstream(setting.path()) << "256\n";
  EXPECT_EQ(setting.read(), 256U);
  EXPECT_TRUE(setting.write(1024));
  EXPECT_EQ(setting.read(), 1024U);
}

TEST(KernelSetting, IsFoundFromADirectory) {
  const testing::TempDir directory;
  std::ofstream(directory / "limit") << "7\n";
  const loop::UniqueFd fd(::open(directory.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(KernelSetting("limit", fd.get()).read(), 7U);
  EXPECT_EQ(KernelSetting("limit", -1).read(), loop::fail(ENOENT));
  EXPECT_EQ(KernelSetting("limit", -1).write(1), loop::fail(ENOENT));
}

TEST(KernelSetting, ThatIsNoNumberIsAnError) {
  const testing::TempDir directory;
  const KernelSetting setting(directory / "word");
  std::ofstream(setting.path()) << "never\n";
  EXPECT_EQ(setting.read(), loop::fail(EPROTO));
  std::ofstream(setting.path(), std::ios::trunc).flush();
  EXPECT_EQ(setting.read(), loop::fail(EPROTO));
}

TEST(KernelSetting, TellsWhatTheKernelRefuses) {
  EXPECT_EQ(KernelSetting("/proc/self/oom_score_adj").write(5000), loop::fail(EINVAL));
}

}  // namespace
}  // namespace ouro::mount_helper
