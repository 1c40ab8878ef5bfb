// What --version says. Used by main.
#pragma once

#include <string>

namespace ouro::mount_helper {

// The newest FUSE protocol that the server speaks. What a kernel speaks is learnt at the mount.
struct ProtocolVersion {
  unsigned major = 0;
  unsigned minor = 0;
};

// One line each for ourofs, libfuse, liburing, the running kernel, the protocol, whether
// backing=kernel can be asked for, libseccomp and the sandbox.
[[nodiscard]] std::string version_text(ProtocolVersion protocol);

}  // namespace ouro::mount_helper
