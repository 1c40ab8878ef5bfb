// The kernel operations of metadata, one function each, with both faces of its Op side by side.
// Every function runs through the executor (ring or call) under `credentials` (null: the daemon's
// own) and returns a value >= 0 or -errno. What has no SQE form is called, and counted, inline.
//
// Any thread that owns the executor. Strings and buffers must live until the function returns.
#pragma once

#include <linux/openat2.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "loop/unique_fd.hpp"
#include "passthrough/executor.hpp"

namespace ouro::passthrough {

// "/proc/self/fd/N": the way from an O_PATH descriptor to calls that want a path or a real fd.
class ProcPath {
 public:
  explicit ProcPath(int fd);
  [[nodiscard]] const char* c_str() const { return text_; }
  // "N", for calls relative to a descriptor of /proc/self/fd.
  [[nodiscard]] const char* name() const { return text_ + sizeof kDirectory - 1; }

 private:
  static constexpr char kDirectory[] = "/proc/self/fd/";
  char text_[32];
};

// The descriptor that a call returned, owned.
[[nodiscard]] inline loop::Result<loop::UniqueFd> to_fd(loop::KernelResult result) {
  if (result < 0) return loop::fail(static_cast<int>(-result));
  return loop::UniqueFd(static_cast<int>(result));
}

namespace sys {

using loop::KernelResult;

KernelResult openat2(Executor& executor, int dir_fd, const char* path, const open_how& how,
                     const Credentials* credentials = nullptr);
// `mask`: STATX_*; `flags` are added to AT_EMPTY_PATH. An executor that refuses what can block is
// told what the kernel knows without asking (AT_STATX_DONT_SYNC).
KernelResult statx(Executor& executor, int fd, unsigned flags, unsigned mask, struct ::statx& out);
KernelResult mkdirat(Executor& executor, int dir_fd, const char* name, mode_t mode,
                     const Credentials* credentials);
KernelResult mknodat(Executor& executor, int dir_fd, const char* name, mode_t mode, dev_t device,
                     const Credentials* credentials);
KernelResult symlinkat(Executor& executor, const char* target, int dir_fd, const char* name,
                       const Credentials* credentials);
// Links the file behind the O_PATH descriptor `fd`.
KernelResult link_fd(Executor& executor, int fd, int new_dir_fd, const char* new_name,
                     const Credentials* credentials = nullptr);
KernelResult unlinkat(Executor& executor, int dir_fd, const char* name, int flags);
KernelResult renameat2(Executor& executor, int dir_fd, const char* name, int new_dir_fd,
                       const char* new_name, unsigned flags,
                       const Credentials* credentials = nullptr);
KernelResult readlinkat(Executor& executor, int fd, std::span<std::byte> out);
// `flags`: 0 or IORING_FSYNC_DATASYNC.
KernelResult fsync(Executor& executor, int fd, unsigned flags);
KernelResult fallocate(Executor& executor, int fd, int mode, std::int64_t offset,
                       std::int64_t length, const Credentials* credentials);
KernelResult ftruncate(Executor& executor, int fd, std::int64_t size,
                       const Credentials* credentials);
// Extended attributes of the file behind the O_PATH descriptor `fd`, a symlink's own included.
// An empty `out` asks for the size.
KernelResult getxattr(Executor& executor, int fd, const char* name, std::span<std::byte> out);
KernelResult setxattr(Executor& executor, int fd, const char* name,
                      std::span<const std::byte> value, int flags, const Credentials* credentials);
KernelResult listxattr(Executor& executor, int fd, std::span<std::byte> out);
KernelResult removexattr(Executor& executor, int fd, const char* name);

}  // namespace sys
}  // namespace ouro::passthrough
