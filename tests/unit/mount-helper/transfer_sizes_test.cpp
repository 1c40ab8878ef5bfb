#include "mount-helper/transfer_sizes.hpp"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "mount-helper/stderr_capture.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::uint32_t kMiB = 1U << 20U;

// A machine whose limit is a file of ours, and what was said about it.
class TransferSizes : public ::testing::Test {
 protected:
  std::uint32_t settle(std::uint32_t wanted) {
    options_.max_write_bytes = wanted;
    StderrCapture printed;
    Log log(loop::LogLevel::kInfo);
    const std::uint32_t bytes = settle_max_write(options_, limit_, log);
    said_ = printed.finish();
    return bytes;
  }
  void set_limit(unsigned pages) const { std::ofstream(limit_.path()) << pages << "\n"; }

  testing::TempDir directory_;
  KernelSetting limit_{directory_ / "max_pages_limit"};
  Options options_;
  std::string said_;
};

TEST_F(TransferSizes, UpToTheLimitAreHadWithoutAWord) {
  set_limit(512);
  EXPECT_EQ(settle(4096), 4096U);
  EXPECT_EQ(settle(2 * kMiB), 2 * kMiB);
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(kMiB), kMiB);
  EXPECT_EQ(said_, "");
  EXPECT_EQ(limit_.read(), 512U) << "and nothing is lowered";
}

TEST_F(TransferSizes, BeyondTheLimitAreCutAndALineSaysSo) {
  set_limit(512);
  EXPECT_EQ(settle(4 * kMiB), 2 * kMiB);
  EXPECT_EQ(said_,
            "ourofs: warning: max_write=4M is beyond the limit of this machine; max_write=2M is in "
            "force (as root, raise_max_pages_limit raises that)\n");
  EXPECT_EQ(limit_.read(), 512U) << "nobody has asked for more";
  set_limit(16);
  EXPECT_EQ(settle(kMiB), 65536U) << "the default, too";
}

TEST_F(TransferSizes, RaiseTheLimitAsFarAsTheyNeed) {
  set_limit(256);
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(4 * kMiB), 4 * kMiB);
  EXPECT_EQ(limit_.read(), 1024U);
  EXPECT_EQ(said_, "ourofs: raised " + limit_.path() +
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
  limit_ = KernelSetting("/proc/sys/kernel/ostype");
  options_.raise_max_pages_limit = true;
  EXPECT_EQ(settle(2 * kMiB), kMiB);
  EXPECT_NE(said_.find("(cannot raise /proc/sys/kernel/ostype: "), std::string::npos) << said_;
}

}  // namespace
}  // namespace ouro::mount_helper
