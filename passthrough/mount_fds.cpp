#include "passthrough/mount_fds.hpp"

#include <utility>

namespace ouro::passthrough {

bool MountFds::knows(std::uint64_t mount) const {
  const std::lock_guard lock(mutex_);
  return fds_.contains(mount);
}

void MountFds::add(std::uint64_t mount, loop::UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  fds_.try_emplace(mount, std::move(fd));
}

int MountFds::find(std::uint64_t mount) const {
  const std::lock_guard lock(mutex_);
  const auto known = fds_.find(mount);
  return known != fds_.end() && known->second ? known->second.get() : -1;
}

}  // namespace ouro::passthrough
