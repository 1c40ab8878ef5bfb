// Packs directory entries into the payload of a READDIR or READDIRPLUS reply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "fs/protocol.hpp"

namespace ouro::fs {

class DirectoryPacker {
 public:
  explicit DirectoryPacker(std::span<std::byte> space) : space_(space) {}

  // Whether an entry with a name of `name_bytes` still fits.
  [[nodiscard]] bool fits(std::size_t prefix_bytes, std::size_t name_bytes) const {
    return used_ + prefix_bytes + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name_bytes) <= space_.size();
  }

  // Appends an entry that fits: `prefix` (READDIRPLUS: a fuse_entry_out; READDIR: nothing), then
  // the dirent. `next_offset` is the position behind it.
  void add(std::span<const std::byte> prefix, std::uint64_t inode, std::uint64_t next_offset,
           std::uint32_t type, std::string_view name) {
    std::byte* at = space_.data() + used_;
    const std::size_t padded = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name.size());
    std::memset(at, 0, prefix.size() + padded);
    if (!prefix.empty()) std::memcpy(at, prefix.data(), prefix.size());
    const fuse_dirent header{inode, next_offset, static_cast<std::uint32_t>(name.size()), type};
    std::memcpy(at + prefix.size(), &header, FUSE_NAME_OFFSET);
    std::memcpy(at + prefix.size() + FUSE_NAME_OFFSET, name.data(), name.size());
    used_ += prefix.size() + padded;
  }

  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  std::span<std::byte> space_;
  std::size_t used_ = 0;
};

}  // namespace ouro::fs
