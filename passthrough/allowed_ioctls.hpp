// The ioctls that reach the source: a command that is not known could do anything to it, or name
// memory of the caller. Used by Tree::ioctl, and by what forbids every other one to the process.
#pragma once

#include <linux/fs.h>

#include <array>
#include <cstddef>

namespace ouro::passthrough {

struct AllowedIoctl {
  unsigned command;
  std::size_t bytes;  // of its argument
  bool sets;          // reads the argument instead of writing it
};

// KERNEL: the flags are an int, whatever the size in the command's number says.
inline constexpr std::array kAllowedIoctls = {
    AllowedIoctl{FS_IOC_GETFLAGS, sizeof(int), false},
    AllowedIoctl{FS_IOC_SETFLAGS, sizeof(int), true},
    AllowedIoctl{FS_IOC_FSGETXATTR, sizeof(fsxattr), false},
    AllowedIoctl{FS_IOC_FSSETXATTR, sizeof(fsxattr), true},
};

}  // namespace ouro::passthrough
