#include "mount-helper/libfuse_log.hpp"

#include <string>

#include <fuse3/fuse_log.h>
#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

TEST(LibfuseLogCapture, KeepsWhatLibfuseSaysAndGivesItBack) {
  ::testing::internal::CaptureStderr();
  {
    const LibfuseLogCapture capture;
    ::fuse_log(FUSE_LOG_ERR, "fuse: %s failed: %d\n", "mount", 5);
    ::fuse_log(FUSE_LOG_DEBUG, "more");
    EXPECT_EQ(capture.text(), "fuse: mount failed: 5\nmore");
  }
  ::fuse_log(FUSE_LOG_ERR, "on stderr\n");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "on stderr\n");
}

TEST(LibfuseLogCapture, CutsWhatIsTooLong) {
  const LibfuseLogCapture capture;
  ::fuse_log(FUSE_LOG_ERR, "%s", std::string(5000, 'x').c_str());
  EXPECT_EQ(capture.text().size(), 1023U);
}

}  // namespace
}  // namespace ouro::mount_helper
