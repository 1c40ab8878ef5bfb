// A number that the kernel shows as a file, below /proc/sys or /sys, and lets root change there.
// Any thread; each call is a file opened, and sends no request to a FUSE server.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <string>
#include <utility>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {

class KernelSetting {
 public:
  // `directory`, which a relative path begins at, is borrowed; -1 if it could not be opened.
  explicit KernelSetting(std::string path, int directory = AT_FDCWD)
      : path_(std::move(path)), directory_(directory) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  // Errors: ENOENT where this kernel has no such setting, EPROTO if it is no number.
  [[nodiscard]] loop::Result<std::uint64_t> read() const;
  // Errors: EACCES, EROFS, ENOENT, EINVAL.
  [[nodiscard]] loop::Status write(std::uint64_t value) const;

 private:
  [[nodiscard]] loop::Result<loop::UniqueFd> open(int flags) const;

  std::string path_;
  int directory_;
};

}  // namespace ouro::mount_helper
