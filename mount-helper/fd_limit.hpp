// How many files the process may hold open. Used by main at start.
#pragma once

#include <cstdint>

#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

// Every inode that the kernel caches holds a descriptor: with fewer, a look at a directory of
// modest size would end in EMFILE.
inline constexpr std::uint64_t kMinOpenFiles = 1024;

// Raises the soft limit as far as this process may: to the hard limit, and as root beyond it.
// Returns the limit that holds from now on, at least kMinOpenFiles.
[[nodiscard]] Outcome<std::uint64_t> raise_fd_limit();

}  // namespace ouro::mount_helper
