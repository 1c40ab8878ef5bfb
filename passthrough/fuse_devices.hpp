// Which devices of a source are FUSE mounts themselves. Each is asked once, because the question
// may be a request to the daemon of that mount.
//
// Any thread: the lock is held for the look into the table only.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "passthrough/executor.hpp"

namespace ouro::passthrough {

class FuseDevices {
 public:
  // `root_fd`, on `root_device`: of the source directory.
  FuseDevices(std::uint64_t root_device, int root_fd);

  // Whether `fd`, a file of `device` (O_PATH is enough), is on FUSE. If nothing can be learned of
  // it, it is.
  [[nodiscard]] bool contain(Executor& executor, std::uint64_t device, int fd);

 private:
  const std::uint64_t root_device_;
  const bool root_is_fuse_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, bool> others_;  // guarded by mutex_
};

}  // namespace ouro::passthrough
