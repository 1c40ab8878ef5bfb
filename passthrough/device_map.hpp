// Inode numbers for a tree that spans several devices: the kernel shows one st_dev for a whole
// FUSE mount, so files of other devices need numbers of their own, or tools that know files by
// (st_dev, st_ino) would take two of them for hard links.
//
// Any thread. Numbers of the root's device are shown as they are; those of the n-th other device
// have n in the upper 16 bits (and are folded if they are larger than 48 bits).
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace ouro::passthrough {

class DeviceMap {
 public:
  explicit DeviceMap(std::uint64_t root_device) : root_device_(root_device) {}

  [[nodiscard]] std::uint64_t shown_inode(std::uint64_t device, std::uint64_t inode);

 private:
  const std::uint64_t root_device_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::uint64_t> others_;  // places by device; guarded by mutex_
};

}  // namespace ouro::passthrough
