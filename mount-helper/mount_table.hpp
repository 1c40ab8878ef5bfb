// Which mount is which: names that stay true while others mount, move and unmount at the same path.
// But for is_dead(), no call sends a request to a FUSE server, so they are safe on one's own mount.
// Plain functions, any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loop/result.hpp"

namespace ouro::mount_helper {

struct MountId {
  std::uint64_t unique = 0;  // never used again until reboot; 0: the kernel is older than 6.8
  std::uint64_t number = 0;  // the first column of mountinfo; used again after an unmount
  dev_t device = 0;          // st_dev of the mounted file system

  friend bool operator==(const MountId&, const MountId&) = default;
};

// The topmost mount at `path`, which must be its root for the answer to be of use.
[[nodiscard]] loop::Result<MountId> mount_at(const std::string& path);

struct MountEntry {
  std::string path;    // where it is mounted now
  std::string type;    // "fuse.ourofs"
  std::string source;  // the first word of /proc/mounts
  std::string root;    // which directory of its file system that is: "/" for the whole of it
};

// The line of `table` (the text of a mountinfo file) that describes the mount `id`.
[[nodiscard]] std::optional<MountEntry> find_mount(std::string_view table, const MountId& id);

// The same in this process's own table; nothing if it cannot be read.
[[nodiscard]] std::optional<MountEntry> find_mount(const MountId& id);

// Where the mount `id` is now, which was made at `path`; empty when it is gone or covered.
[[nodiscard]] std::string path_of_mount(const MountId& id, const std::string& path);

// Whether the server of the mount at `path` is gone. The exception here: asks the server, if there
// is one.
[[nodiscard]] bool is_dead(const std::string& path);

}  // namespace ouro::mount_helper
