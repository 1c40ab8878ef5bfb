#include "mount-helper/version.hpp"

#include <sys/utsname.h>

#include "fs/kernel_backing.hpp"
#include "mount-helper/sandbox.hpp"
#include "passthrough/credentials.hpp"

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

// From the build: OURO_VERSION and OURO_LIBURING_VERSION, which liburing 2.3 cannot tell itself.

namespace ouro::mount_helper {

namespace {

std::string kernel_backing_text() {
  const auto identity = passthrough::ProcessIdentity::take();
  const std::string reason = identity ? fs::reason_not_to_ask(0, *identity) : "no identity";
  return "backing=kernel " + (reason.empty() ? "from Linux 6.9 on" : "is refused: " + reason);
}

}  // namespace

std::string version_text(ProtocolVersion protocol) {
  utsname kernel{};
  ::uname(&kernel);
  return std::string("ourofs ") + OURO_VERSION + "\nlibfuse " + ::fuse_pkgversion() +
         "\nliburing " + OURO_LIBURING_VERSION + "\n" + kernel.sysname + " " + kernel.release +
         "\nFUSE protocol " + std::to_string(protocol.major) + "." +
         std::to_string(protocol.minor) + "\n" + kernel_backing_text() + "\n" + sandbox_text() +
         "\n";
}

}  // namespace ouro::mount_helper
