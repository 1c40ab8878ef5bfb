// What the kernel tells of an io_uring in /proc/self/fdinfo.
#pragma once

#include <fstream>
#include <string>

namespace ouro::testing {

// Whether the kernel holds completions of the ring `fd` that did not fit into its queue.
[[nodiscard]] inline bool cq_has_overflowed(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  std::string line;
  while (std::getline(info, line)) {
    if (line.find("CqOverflowList") != std::string::npos) {
      return std::getline(info, line) && line.find("user_data=") != std::string::npos;
    }
  }
  return false;
}

}  // namespace ouro::testing
