// A small world for programs that mount: mount and process namespaces of their own, where nothing
// that is left behind, not even after a crash, reaches the machine. In it /dev/fuse is open to
// everybody, as udev makes it, and the fusectl file system is mounted.
// For the main() of a test program, while it has one thread.
#pragma once

#include <functional>

namespace ouro::testing {

// Runs `body` in there and ends the process with its exit code. Without root it runs in the world
// as it is, and returns.
int run_isolated(const std::function<int()>& body);

// Whether there is a world of our own.
[[nodiscard]] bool is_isolated();

}  // namespace ouro::testing
