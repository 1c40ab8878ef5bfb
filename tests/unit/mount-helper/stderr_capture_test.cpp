#include "mount-helper/stderr_capture.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

TEST(StderrCapture, KeepsWhatLibrariesAndChildrenPrint) {
  ::testing::internal::CaptureStderr();
  StderrCapture capture;
  std::fputs("ours ", stderr);
  char program[] = "/bin/sh";
  char option[] = "-c";
  char script[] = "echo theirs >&2";
  char* arguments[] = {program, option, script, nullptr};
  pid_t child = -1;
  ASSERT_EQ(::posix_spawn(&child, program, nullptr, nullptr, arguments, environ), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(capture.finish(), "ours theirs\n");
  std::fputs("later", stderr);
  EXPECT_EQ(capture.finish(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "later");
}

TEST(StderrCapture, EndsWithItsScope) {
  ::testing::internal::CaptureStderr();
  {
    const StderrCapture capture;
    std::fputs("lost", stderr);
  }
  std::fputs("kept", stderr);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "kept");
}

}  // namespace
}  // namespace ouro::mount_helper
