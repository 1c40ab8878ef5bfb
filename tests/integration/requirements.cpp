#include "tests/integration/requirements.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/integration/isolation.hpp"

namespace ouro::testing {

std::optional<std::string> has_root() {
  if (::geteuid() != 0) return "needs root";
  if (!is_isolated()) return "needs a mount namespace of its own";
  return std::nullopt;
}

std::optional<std::string> can_mount_as(Who who) {
  if (who == Who::kRoot) return has_root();
  struct ::stat device {};
  if (::stat("/dev/fuse", &device) != 0) {
    return std::string("/dev/fuse: ") + std::strerror(errno);
  }
  if (::geteuid() == 0 && (device.st_mode & 0006) != 0006) {
    return "/dev/fuse is not open to plain users";
  }
  return has_program("fusermount3");
}

std::optional<std::string> has_fuse_over_uring() {
  const std::string path = "/sys/module/fuse/parameters/enable_uring";
  const auto enabled = [&path] {
    std::string value;
    return std::getline(std::ifstream(path), value) && value == "Y";
  };
  if (enabled()) return std::nullopt;
  std::ofstream(path) << "Y";
  if (enabled()) return std::nullopt;
  return "no FUSE-over-io_uring: " + path + " is not Y";
}

std::optional<std::string> has_program(const std::string& name) {
  const char* search = std::getenv("PATH");
  std::istringstream directories(search != nullptr ? search : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (::access((directory + "/" + name).c_str(), X_OK) == 0) return std::nullopt;
  }
  return "there is no " + name;
}

}  // namespace ouro::testing
