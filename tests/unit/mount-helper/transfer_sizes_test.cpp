#include "mount-helper/transfer_sizes.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "mount-helper/stderr_capture.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::uint32_t kMiB = 1U << 20U;

// What is settled with a setting of the kernel that is a file of ours, and what was said about it.
class WithSetting : public ::testing::Test {
 protected:
  explicit WithSetting(const char* name) : setting_(directory_ / name) {}

  template <typename Settle>
  std::uint64_t listen(Settle settle) {
    StderrCapture printed;
    Log log(loop::LogLevel::kInfo);
    const std::uint64_t bytes = settle(log);
    said_ = printed.finish();
    return bytes;
  }
  void set(unsigned value) const { std::ofstream(setting_.path()) << value << "\n"; }

  testing::TempDir directory_;
  KernelSetting setting_;
  Options options_;
  std::string said_;
};

// The setting is the machine's limit.
class TransferSizes : public WithSetting {
 protected:
  TransferSizes() : WithSetting("max_pages_limit") {}

  std::uint64_t settle(std::uint32_t wanted) {
    options_.max_write_bytes = wanted;
    return listen([this](Log& log) { return settle_max_write(options_, setting_, log); });
  }
};

TEST_F(TransferSizes, UpToTheLimitAreHadWithoutAWord) {
  set(512);
  EXPECT_EQ(settle(4096), 4096U);
  EXPECT_EQ(settle(2 * kMiB), 2 * kMiB);
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(kMiB), kMiB);
  EXPECT_EQ(said_, "");
  EXPECT_EQ(setting_.read(), 512U) << "and nothing is lowered";
}

TEST_F(TransferSizes, BeyondTheLimitAreCutAndALineSaysSo) {
  set(512);
  EXPECT_EQ(settle(4 * kMiB), 2 * kMiB);
  EXPECT_EQ(said_,
            "ourofs: warning: max_write=4M is beyond the limit of this machine; max_write=2M is in "
            "force (as root, raise_max_pages_limit raises that)\n");
  EXPECT_EQ(setting_.read(), 512U) << "nobody has asked for more";
  set(16);
  EXPECT_EQ(settle(kMiB), 65536U) << "the default, too";
}

TEST_F(TransferSizes, RaiseTheLimitAsFarAsTheyNeed) {
  set(256);
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(4 * kMiB), 4 * kMiB);
  EXPECT_EQ(setting_.read(), 1024U);
  EXPECT_EQ(said_, "ourofs: raised " + setting_.path() +
                       " from 256 to 1024 for all FUSE mounts made from now on\n");
}

TEST_F(TransferSizes, AreFixedOnAnOlderKernel) {
  EXPECT_EQ(settle(kMiB), kMiB);
  EXPECT_EQ(said_, "");
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(kMiB + 4096), kMiB);
  EXPECT_EQ(said_,
            "ourofs: warning: max_write=1028K is beyond the limit of this machine; max_write=1M is "
            "in force (older kernels than Linux 6.13 cannot do more)\n");
}

TEST_F(TransferSizes, OfWhoMayNotRaiseTheLimitAreCut) {
  // Open to nobody for writing, not even to root.
  setting_ = KernelSetting("/proc/sys/kernel/ostype");
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(2 * kMiB), kMiB);
  EXPECT_NE(said_.find("(cannot raise /proc/sys/kernel/ostype: "), std::string::npos) << said_;
}

// The setting is the read-ahead of a mount, after FUSE_INIT.
class ReadAhead : public WithSetting {
 protected:
  ReadAhead() : WithSetting("read_ahead_kb") {}

  std::uint64_t settle(std::optional<std::uint32_t> wanted, std::uint32_t agreed) {
    options_.max_readahead_bytes = wanted;
    return listen([&](Log& log) { return settle_read_ahead(options_, setting_, agreed, log); });
  }
};

constexpr std::uint32_t kOffered = 128U << 10U;

TEST_F(ReadAhead, IsTheKernelsUnlessToldOtherwise) {
  set(128);
  EXPECT_EQ(settle(std::nullopt, kOffered), kOffered);
  EXPECT_EQ(said_, "");
  set(64);
  EXPECT_EQ(settle(std::nullopt, kOffered), 64U << 10U) << "what is in force is what is told";
}

TEST_F(ReadAhead, OfLessIsSettledByTheHandshake) {
  set(16);
  EXPECT_EQ(settle(16U << 10U, 16U << 10U), 16U << 10U);
  EXPECT_EQ(setting_.read(), 16U);
  EXPECT_EQ(said_, "");
}

TEST_F(ReadAhead, OfMoreIsSet) {
  set(128);
  EXPECT_EQ(settle(4 * kMiB, kOffered), 4 * kMiB);
  EXPECT_EQ(setting_.read(), 4096U);
  EXPECT_EQ(said_, "");
}

TEST_F(ReadAhead, ThatCannotBeHadIsALine) {
  EXPECT_EQ(settle(kMiB, kOffered), kOffered);
  EXPECT_EQ(said_,
            "ourofs: warning: cannot set max_readahead=1M: No such file or directory; "
            "max_readahead=128K is in force (only root can have more than the kernel offers)\n");
}

TEST(ReadAheadOfAMount, IsFoundByItsDevice) {
  const auto directory = open_read_aheads();
  if (!directory) GTEST_SKIP() << "there is no /sys/class/bdi";
  EXPECT_EQ(read_ahead_of(makedev(7, 300), directory).path(), "7:300/read_ahead_kb");
  struct ::stat here {};
  ASSERT_EQ(::stat(".", &here), 0);
  // Not every file system has one.
  const auto found = read_ahead_of(here.st_dev, directory).read();
  if (!found) GTEST_SKIP() << "none for the file system of the working directory";
  EXPECT_EQ(*found % 4, 0U);
}

}  // namespace
}  // namespace ouro::mount_helper
