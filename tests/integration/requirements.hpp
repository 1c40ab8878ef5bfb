// What a test needs of the machine, asked in its first line; without it the test is skipped with
// the reason. Each function returns the reason, or nothing.
#pragma once

#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/process.hpp"

#define OURO_REQUIRE(requirement)                                     \
  do {                                                                \
    if (const auto missing = (requirement)) GTEST_SKIP() << *missing; \
  } while (false)

namespace ouro::testing {

// Root in namespaces of the test's own.
[[nodiscard]] std::optional<std::string> has_root();
// Root; or the plain user with fusermount3 and a /dev/fuse that he may open.
[[nodiscard]] std::optional<std::string> can_mount_as(Who who);
// FUSE-over-io_uring, which the kernel has switched off by default: root switches it on, for all
// mounts made from then on.
[[nodiscard]] std::optional<std::string> has_fuse_over_uring();
// A program in $PATH.
[[nodiscard]] std::optional<std::string> has_program(const std::string& name);

}  // namespace ouro::testing
