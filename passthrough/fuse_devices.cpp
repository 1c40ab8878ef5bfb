#include "passthrough/fuse_devices.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <optional>

namespace ouro::passthrough {
namespace {

std::optional<bool> is_on_fuse(int fd) {
  struct ::statfs file_system {};
  if (::fstatfs(fd, &file_system) < 0) return std::nullopt;
  return file_system.f_type == FUSE_SUPER_MAGIC;
}

}  // namespace

FuseDevices::FuseDevices(std::uint64_t root_device, int root_fd)
    : root_device_(root_device), root_is_fuse_(is_on_fuse(root_fd).value_or(true)) {}

bool FuseDevices::contain(Executor& executor, std::uint64_t device, int fd) {
  if (device == root_device_) return root_is_fuse_;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = others_.find(device); known != others_.end()) return known->second;
  }
  std::optional<bool> fuse;
  (void)executor.call([&]() -> loop::KernelResult {
    fuse = is_on_fuse(fd);
    return 0;
  });
  if (!fuse) return true;
  const std::lock_guard lock(mutex_);
  return others_.emplace(device, *fuse).first->second;
}

}  // namespace ouro::passthrough
