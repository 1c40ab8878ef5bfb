// Unmounting for those who may not call umount(2): the set-user-ID helper of libfuse.
// Any thread; blocks until the helper ends.
#pragma once

#include <cstdint>
#include <string>

#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

enum class UnmountMode : std::uint8_t {
  kGraceful,  // fails while the mount is in use
  kLazy,      // detaches it now; it goes away with its last user
};

// Runs fusermount3 with an empty environment and the default signal state. A failure carries what
// it printed. SIGCHLD must not be ignored in this process.
[[nodiscard]] Outcome<void> run_fusermount(const std::string& mountpoint, UnmountMode mode);

}  // namespace ouro::mount_helper
