// Looks at SOURCE and MOUNTPOINT before anything is forked or mounted, and opens the tree to serve.
// Used by main at start, single-threaded; the tree then belongs to the file system that serves it.
#pragma once

#include <cstdint>
#include <string>

#include "loop/unique_fd.hpp"
#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

// Absolute paths without symbolic links: they stay true when the daemon leaves its directory.
struct Places {
  std::string source;
  std::string mountpoint;
};

// Resolves and checks both: directories, SOURCE readable by this user, SOURCE not below MOUNTPOINT
// (where the mount would hide it), no other ourofs at MOUNTPOINT. The same directory twice is fine,
// and so is MOUNTPOINT inside SOURCE.
[[nodiscard]] Outcome<Places> resolve_places(const std::string& source,
                                             const std::string& mountpoint);

// File systems that are mounted below SOURCE now: part of the tree, or not (one_file_system).
enum class Submounts : std::uint8_t { kInclude, kExclude };

struct SourceTree {
  enum class View : std::uint8_t {
    // Root only. A copy of the mounts as they were when it was opened: what is mounted below
    // SOURCE later, our own mount above all, is never seen through it.
    kPrivateClone,
    // The directory itself, with every mount that comes and goes below it. Whoever serves it must
    // not cross into the own mount (MountPoint::device()) nor, for kExclude, into any other.
    kShared,
  };

  loop::UniqueFd root;  // O_PATH; closing it dissolves a private clone, so it stays open
  View view = View::kShared;
  // O_PATH on SOURCE itself: keeps its file system busy, so that unmounting it says so.
  loop::UniqueFd pin;
  std::string path;
  // Whether it is a whole file system: its root, and no part of one.
  bool is_whole = false;
};

// Opens the tree at an absolute path. To be called before the mount is made. `attributes`:
// MOUNT_ATTR_* that a private clone gets; a shared view has those of the source.
[[nodiscard]] Outcome<SourceTree> open_source_tree(const std::string& path, Submounts submounts,
                                                   std::uint64_t attributes = 0);

}  // namespace ouro::mount_helper
