// A file of the source that the kernel knows, and how it is reached.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "loop/unique_fd.hpp"
#include "passthrough/content_history.hpp"
#include "passthrough/io_mode.hpp"
#include "passthrough/source_handle.hpp"

namespace ouro::passthrough {

// The kernel's name of a file that it knows.
using NodeId = std::uint64_t;
inline constexpr NodeId kRootNode = 1;

// What makes two names the same file. The mount belongs to it: one directory that is mounted at
// two places must be two nodes, because the kernel allows a directory one place in the tree.
struct FileKey {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t mount = 0;
  friend bool operator==(const FileKey&, const FileKey&) = default;
};

// Held either by an O_PATH descriptor, which pins the file: its inode number cannot be reused, and
// it stays reachable when it is unlinked or moved; or by its handle, which costs no descriptor, and
// by which the file is found for as long as it has a name or is open somewhere.
struct Inode {
  FileKey key;
  mode_t type = 0;  // S_IFMT bits
  loop::UniqueFd path_fd;
  std::optional<SourceHandle> handle = {};  // only where there is no path_fd
  // Of a regular file, once it is in the table.
  std::shared_ptr<ContentHistory> content = {};
  std::shared_ptr<IoMode> io_mode = {};  // where files may be given
  NodeId durable_id = 0;                 // 0: its node id is one of the table (see DurableIds)

  [[nodiscard]] bool held_by_handle() const { return handle.has_value(); }
};

// Pins an inode across a wait or a forget.
using InodeRef = std::shared_ptr<const Inode>;

// An inode with a descriptor of it, for the length of an operation.
class PinnedInode {
 public:
  // `opened` is empty where the inode has a descriptor of its own.
  explicit PinnedInode(InodeRef inode, loop::UniqueFd opened = {})
      : inode_(std::move(inode)), opened_(std::move(opened)) {}

  [[nodiscard]] const Inode& operator*() const { return *inode_; }
  [[nodiscard]] const Inode* operator->() const { return inode_.get(); }
  [[nodiscard]] const InodeRef& ref() const { return inode_; }
  [[nodiscard]] int fd() const { return opened_ ? opened_.get() : inode_->path_fd.get(); }

 private:
  InodeRef inode_;
  loop::UniqueFd opened_;
};

}  // namespace ouro::passthrough
