// Every inode that the kernel knows, by node id and by identity in the source, with the exact
// number of lookups the kernel has been told of (nlookup).
//
// Any thread: one lock, held for table work only, never across a system call.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::passthrough {

// Index + generation, so that a forgotten id is never valid again. The root is kRootNode.
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

// A file of the source. The O_PATH descriptor pins it: its inode number cannot be reused while
// this object lives, and it stays reachable when it is unlinked or moved.
struct Inode {
  FileKey key;
  mode_t type = 0;  // S_IFMT bits
  loop::UniqueFd path_fd;
};

// Pins an inode across a wait or a forget.
using InodeRef = std::shared_ptr<const Inode>;

// What to do, once, when the table first holds that many inodes.
struct Watermark {
  std::size_t inodes = std::numeric_limits<std::size_t>::max();
  std::function<void()> reached;  // any thread, outside the table's lock
};

class InodeTable {
 public:
  explicit InodeTable(Inode root, Watermark watermark = {});
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  // Counts one lookup of the file and returns its node id: of the inode that is there already
  // (whose descriptor stays), or of `inode`, which is inserted.
  [[nodiscard]] NodeId intern(Inode inode);
  // Errors: ESTALE for an id that is not, or no longer, valid.
  [[nodiscard]] loop::Result<InodeRef> find(NodeId node) const;
  // Takes back `count` lookups; the inode leaves the table at 0 (and is closed when its last
  // reference goes) and is returned, else null. More than were counted, an unknown node and the
  // root are ignored beyond 0.
  InodeRef forget(NodeId node, std::uint64_t count);

  // Inodes in the table, the root included.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::uint64_t lookups(NodeId node) const;  // 0 if unknown; for tests

 private:
  struct Slot {
    InodeRef inode;  // null: free
    std::uint64_t lookups = 0;
    std::uint32_t generation = 0;
  };
  struct KeyHash {
    std::size_t operator()(const FileKey& key) const noexcept;
  };

  [[nodiscard]] static NodeId node_id(std::uint32_t index, std::uint32_t generation);
  // The slot that `node` names now, or nullptr.
  [[nodiscard]] const Slot* slot_of(NodeId node) const;

  // The id, and whether the watermark was reached by this.
  [[nodiscard]] std::pair<NodeId, bool> insert(Inode inode);

  Watermark watermark_;  // its number guarded by mutex_: none once it was reached
  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<FileKey, std::uint32_t, KeyHash> by_key_;
};

}  // namespace ouro::passthrough
