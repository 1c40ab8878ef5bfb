// How mount(8) speaks: `mount.fuse.ourofs SPEC DIR [-sfnv] [-N namespace] [-o options] [-t type]`.
// Its letters mean other things than ours, so the whole line is put into ours here.
// Used by main at start, single-threaded.
#pragma once

#include <string>
#include <vector>

#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

// Whether the program was called by the name that mount(8) looks for.
[[nodiscard]] bool is_mount_command(const char* program_name);

struct MountCommand {
  // What ourofs is to be called with, from argv[0] on.
  std::vector<std::string> arguments;
  bool fake = false;     // -f: look at everything, mount nothing
  std::string user;      // setuid=USER: who mounts; empty: the caller
  bool remount = false;  // change the mount at `mountpoint` instead, see remount()
  std::string mountpoint;
  std::vector<std::string> remount_options;  // names of what may differ: "ro", "nosuid"
};

// As mount.fuse3(8) does it: SPEC is the source, or `source:PATH`, or any name where the options
// have `source=PATH`; it is shown in the mount table as it was given. Without nodev and nosuid a
// mount of root has `dev` and `suid`. Every error is a usage error (exit code 1).
[[nodiscard]] Outcome<MountCommand> parse_mount_command(int argc, char** argv);

// Changes ro, rw and the flags of a mount. What only a new mount can change must be known and is
// left as it is, because mount(8) sends along all that the mount has. Exit code 32 if the kernel
// refuses.
[[nodiscard]] Outcome<void> remount(const MountCommand& command);

// Becomes `user` for good, with his groups and HOME. Before anything else: what follows happens
// with his rights. Exit code 1 for a user who does not exist.
[[nodiscard]] Outcome<void> become_user(const std::string& user);

}  // namespace ouro::mount_helper
