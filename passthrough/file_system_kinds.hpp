// What kind of file system the files of a source are on, as far as it matters to how they are used.
// Each device is asked once, because the question may be a request to the daemon of a FUSE mount.
//
// Any thread: the lock is held for the look into the table only.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "passthrough/executor.hpp"

namespace ouro::passthrough {

enum class FileSystemKind : std::uint8_t {
  kLocal,  // on a disk or in the memory of this machine: its close() has nothing to tell
  kOther,  // on a network, on top of others, or not known
  kFuse,   // a FUSE mount itself
};

// Whether what `fd` is on (O_PATH is enough) lies on top of another file system, or may do so:
// which of FUSE cannot be told.
[[nodiscard]] bool may_be_stacked(int fd);

class FileSystemKinds {
 public:
  // `root_fd`, on `root_device`: of the source directory.
  FileSystemKinds(std::uint64_t root_device, int root_fd);

  // Of `fd`, a file of `device` (O_PATH is enough). If nothing can be learned of it, it is kFuse,
  // which is used most carefully.
  [[nodiscard]] FileSystemKind kind_of(Executor& executor, std::uint64_t device, int fd);

 private:
  const std::uint64_t root_device_;
  const FileSystemKind root_kind_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, FileSystemKind> others_;  // guarded by mutex_
};

}  // namespace ouro::passthrough
