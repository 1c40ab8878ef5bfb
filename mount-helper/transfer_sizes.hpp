// How much one request moves: what the options ask for, and what this machine lets us have. What
// cannot be had is a line of the log, and what can be had is in force, as with every mode that the
// kernel may refuse. Used by main around the mount; one thread.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "loop/unique_fd.hpp"
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

// Where the kernel says how far it reads ahead for each file system. To be opened before the mount,
// which may cover the way there. Empty where there is no /sys.
[[nodiscard]] loop::UniqueFd open_read_aheads();

// How far it does so in the files of the mount whose st_dev is `device`, in KiB. `read_aheads` is
// borrowed.
[[nodiscard]] KernelSetting read_ahead_of(dev_t device, const loop::UniqueFd& read_aheads);

// How far it does so for this mount, in bytes. More than the kernel has offered in FUSE_INIT
// (`agreed`) is root's to set, when that has been answered and before a file is open.
[[nodiscard]] std::uint64_t settle_read_ahead(const Options& options, const KernelSetting& setting,
                                              std::uint32_t agreed, Log& log);

}  // namespace ouro::mount_helper
