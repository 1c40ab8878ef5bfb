// A number that the kernel shows as a file, below /proc/sys or /sys, and lets root change there.
// Any thread; each call is a file opened, and sends no request to a FUSE server.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "loop/result.hpp"

namespace ouro::mount_helper {

class KernelSetting {
 public:
  explicit KernelSetting(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  // Errors: ENOENT where this kernel has no such setting, EPROTO if it is no number.
  [[nodiscard]] loop::Result<std::uint64_t> read() const;
  // Errors: EACCES, EROFS, ENOENT, EINVAL.
  [[nodiscard]] loop::Status write(std::uint64_t value) const;

 private:
  std::string path_;
};

}  // namespace ouro::mount_helper
