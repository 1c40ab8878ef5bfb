#include "passthrough/file_system_kinds.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace ouro::passthrough {
namespace {

using Magic = decltype(std::declval<struct ::statfs>().f_type);

// The common ones. KERNEL: none of them has a flush() of its own, or it tells no error.
constexpr Magic kLocalMagics[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC,
                                  TMPFS_MAGIC,      F2FS_SUPER_MAGIC, MSDOS_SUPER_MAGIC,
                                  RAMFS_MAGIC};

std::optional<FileSystemKind> kind_behind(int fd) {
  struct ::statfs file_system {};
  if (::fstatfs(fd, &file_system) < 0) return std::nullopt;
  if (file_system.f_type == FUSE_SUPER_MAGIC) return FileSystemKind::kFuse;
  const bool local = std::ranges::find(kLocalMagics, file_system.f_type) != std::end(kLocalMagics);
  return local ? FileSystemKind::kLocal : FileSystemKind::kOther;
}

// KERNEL: all that have a stack depth of their own.
constexpr Magic kStackedMagics[] = {OVERLAYFS_SUPER_MAGIC, ECRYPTFS_SUPER_MAGIC, FUSE_SUPER_MAGIC};

}  // namespace

bool may_be_stacked(int fd) {
  struct ::statfs file_system {};
  return ::fstatfs(fd, &file_system) == 0 &&
         std::ranges::find(kStackedMagics, file_system.f_type) != std::end(kStackedMagics);
}

FileSystemKinds::FileSystemKinds(std::uint64_t root_device, int root_fd)
    : root_device_(root_device), root_kind_(kind_behind(root_fd).value_or(FileSystemKind::kFuse)) {}

FileSystemKind FileSystemKinds::kind_of(Executor& executor, std::uint64_t device, int fd) {
  if (device == root_device_) return root_kind_;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = others_.find(device); known != others_.end()) return known->second;
  }
  std::optional<FileSystemKind> kind;
  (void)executor.call([&]() -> loop::KernelResult {
    kind = kind_behind(fd);
    return 0;
  });
  if (!kind) return FileSystemKind::kFuse;
  const std::lock_guard lock(mutex_);
  return others_.emplace(device, *kind).first->second;
}

}  // namespace ouro::passthrough
