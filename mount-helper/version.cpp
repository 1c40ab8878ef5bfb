#include "mount-helper/version.hpp"

#include <sys/utsname.h>

#include "mount-helper/sandbox.hpp"

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

// From the build: OURO_VERSION and OURO_LIBURING_VERSION, which liburing 2.3 cannot tell itself.

namespace ouro::mount_helper {

std::string version_text(ProtocolVersion protocol) {
  utsname kernel{};
  ::uname(&kernel);
  return std::string("ourofs ") + OURO_VERSION + "\nlibfuse " + ::fuse_pkgversion() +
         "\nliburing " + OURO_LIBURING_VERSION + "\n" + kernel.sysname + " " + kernel.release +
         "\nFUSE protocol " + std::to_string(protocol.major) + "." +
         std::to_string(protocol.minor) + "\n" + sandbox_text() + "\n";
}

}  // namespace ouro::mount_helper
