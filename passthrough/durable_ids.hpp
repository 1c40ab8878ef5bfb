// Node ids that outlive the table of inodes: made of the number and the generation that the file
// handles of the source have, so that whoever keeps an id finds the file again by it. A file handle
// that name_to_handle_at(2) gives of a file of the mount is its node id, and so stays true when the
// kernel has forgotten the file, and in the next mount (NFS servers rely on that).
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "passthrough/inode.hpp"
#include "passthrough/source_handle.hpp"

namespace ouro::passthrough {

class DurableIds {
 public:
  // For a file system whose root directory has this handle and inode number. Nothing if its handles
  // look otherwise than those of ext4, xfs or tmpfs.
  [[nodiscard]] static std::optional<DurableIds> like(const SourceHandle& root,
                                                      std::uint64_t inode_number);

  // Nothing for an inode number of more than 31 bits: such a file has an id of the table.
  [[nodiscard]] std::optional<NodeId> id_of(const SourceHandle& handle,
                                            std::uint64_t inode_number) const;
  [[nodiscard]] SourceHandle handle_of(NodeId durable) const;

  // Durable ids and those of the table are never the same.
  [[nodiscard]] static bool is_durable(NodeId node) { return (node & kMark) != 0; }
  [[nodiscard]] static std::uint64_t inode_number(NodeId durable) { return durable & kLargest; }

 private:
  // Where the number (in host order) and the generation (4 bytes) are in a handle.
  struct Layout {
    std::size_t bytes;
    std::size_t number_at;
    std::size_t number_bytes;
    std::size_t generation_at;
  };
  // KERNEL: struct fid of include/linux/exportfs.h (ext4), xfs_fs_encode_fh(), shmem_encode_fh().
  static constexpr Layout kLayouts[] = {{8, 0, 4, 4}, {12, 0, 8, 8}, {12, 4, 8, 0}};
  static constexpr NodeId kMark = NodeId{1} << 31;
  static constexpr std::uint64_t kLargest = kMark - 1;

  DurableIds(int type, const Layout& layout) : type_(type), layout_(&layout) {}
  [[nodiscard]] static std::uint64_t number_in(const SourceHandle& handle, const Layout& layout);

  int type_;
  const Layout* layout_;
};

}  // namespace ouro::passthrough
