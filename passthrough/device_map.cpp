#include "passthrough/device_map.hpp"

namespace ouro::passthrough {
namespace {

constexpr unsigned kInodeBits = 48;
constexpr std::uint64_t kInodeMask = (std::uint64_t{1} << kInodeBits) - 1;
constexpr std::uint64_t kDeviceNumbers = 0xffff;  // 0 is the root's

// Larger numbers are rare (they are hashes, not counters), so that two of them seldom meet.
constexpr std::uint64_t fold(std::uint64_t inode) {
  return (inode ^ inode >> kInodeBits) & kInodeMask;
}

}  // namespace

std::uint64_t DeviceMap::shown_inode(std::uint64_t device, std::uint64_t inode) {
  if (device == root_device_) return inode;
  std::uint64_t place = 0;
  {
    const std::lock_guard lock(mutex_);
    place = others_.try_emplace(device, others_.size()).first->second;
  }
  return (place % kDeviceNumbers + 1) << kInodeBits | fold(inode);
}

}  // namespace ouro::passthrough
