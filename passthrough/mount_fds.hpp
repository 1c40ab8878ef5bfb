// An open directory of each mount of the source, which open_by_handle_at(2) needs to find the files
// of that mount. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "loop/unique_fd.hpp"

namespace ouro::passthrough {

class MountFds {
 public:
  // Whether add() was called for it.
  [[nodiscard]] bool knows(std::uint64_t mount) const;
  // An empty `fd`: the mount has no file handles. The first call for a mount counts.
  void add(std::uint64_t mount, loop::UniqueFd fd);
  // Valid for as long as this object lives; -1 where there are no handles.
  [[nodiscard]] int find(std::uint64_t mount) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, loop::UniqueFd> fds_;
};

}  // namespace ouro::passthrough
