// How much one request moves: what the options ask for, and what this machine lets us have. What
// cannot be had is a line of the log, and what can be had is in force, as with every mode that the
// kernel may refuse. Used by main around the mount; one thread.
#pragma once

#include <cstdint>

#include "mount-helper/kernel_setting.hpp"
#include "mount-helper/log.hpp"
#include "mount-helper/options.hpp"

namespace ouro::mount_helper {

// The most pages that a request of any FUSE mount made from now on can have (Linux 6.13).
[[nodiscard]] KernelSetting max_pages_limit();

// The largest request, in bytes, for FUSE_INIT. Raises `limit` if that is wanted, and so comes
// before the mount: KERNEL(6.13): it is looked at when a connection is made.
[[nodiscard]] std::uint32_t settle_max_write(const Options& options, const KernelSetting& limit,
                                             Log& log);

}  // namespace ouro::mount_helper
