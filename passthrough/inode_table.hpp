// Every inode that the kernel knows, by node id and by identity in the source, with the exact
// number of lookups the kernel has been told of (nlookup). A node id is index + generation, so that
// a forgotten one is never valid again, or a durable one (passthrough/durable_ids.hpp); the root is
// kRootNode.
//
// Any thread: one lock, held for table work only, never across a system call.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "passthrough/inode.hpp"

namespace ouro::passthrough {

inline constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

// Whether regular files have an IoMode.
enum class IoModes : std::uint8_t { kNone, kKept };

// What to do, once, when the inodes first hold that many descriptors.
struct Watermark {
  std::size_t descriptors = kNoLimit;
  std::function<void()> reached;  // any thread, outside the table's lock
};

class InodeTable {
 public:
  // `max_descriptors`: beyond it, inodes are held by their handles if they have one, and otherwise
  // the table is crowded. The root is always held by its descriptor. `scarce_from`: an inode that
  // comes with such a descriptor, or a higher one, tells that others have taken so many that inodes
  // must do with fewer.
  explicit InodeTable(Inode root, Watermark watermark = {}, std::size_t max_descriptors = kNoLimit,
                      std::size_t scarce_from = kNoLimit, IoModes io_modes = IoModes::kNone);
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  // From now on the files of the root's mount are to come with a handle and, as a rule, with a
  // durable id. Before serving begins.
  void name_durably() { names_durably_ = true; }
  [[nodiscard]] bool names_durably(const FileKey& key) const {
    return names_durably_ && key.device == root_.device && key.mount == root_.mount;
  }

  [[nodiscard]] bool limits_descriptors() const { return max_descriptors_ != kNoLimit; }
  // Counts one lookup of the file and returns its node id: of the inode that is there already
  // (whose descriptor or handle stays), or of `inode`, which is inserted. An inode that is held by
  // a handle is there no more if `inode` has another one: its number was used again, and its node
  // id leads to ESTALE.
  [[nodiscard]] NodeId intern(Inode inode);
  // The same, but empty, and `inode` as it was, if it has no handle and should: its file is held by
  // one, or is to be named durably, or there are descriptors enough.
  [[nodiscard]] std::optional<NodeId> try_intern(Inode& inode);
  [[nodiscard]] bool holds_by_handle(const FileKey& key) const;
  // Holds the file by `path_fd` from now on, if it was held by `handle`: a file that loses its last
  // name cannot be found by its handle any more.
  void hold(const FileKey& key, const SourceHandle& handle, loop::UniqueFd path_fd);
  // Errors: ESTALE for an id that is not, or no longer, valid.
  [[nodiscard]] loop::Result<InodeRef> find(NodeId node) const;
  // Takes back `count` lookups; the inode leaves the table at 0 (and is closed when its last
  // reference goes) and is returned, else null. More than were counted, an unknown node and the
  // root are ignored beyond 0.
  InodeRef forget(NodeId node, std::uint64_t count);

  // True once when the table has become crowded, and again for every further eighth (or 64).
  [[nodiscard]] bool take_crowding() {
    return wants_room_.load(std::memory_order_relaxed) &&
           wants_room_.exchange(false, std::memory_order_relaxed);
  }
  // Hints while others work.
  [[nodiscard]] bool is_crowded() const { return crowded_.load(std::memory_order_relaxed); }
  // Half as many again as may be: further inodes should wait, as long as waiting helps.
  [[nodiscard]] bool is_full() const { return full_.load(std::memory_order_relaxed); }
  // Returns when the table is not full, or when nothing has made room for `limit`: then there are
  // so many in use. No thread that takes FORGETs.
  void wait_for_room(std::chrono::nanoseconds limit);
  // Up to `count` nodes that are held by a descriptor and not in use by us (open), and a quarter of
  // the former at most (or 64), going round the table. Never the root.
  [[nodiscard]] std::vector<NodeId> oldest_with_descriptor(std::size_t count);

  // Inodes in the table, the root included.
  [[nodiscard]] std::size_t size() const;
  // How many of them are held by a handle. Without the lock, so only a hint while others work.
  [[nodiscard]] std::size_t held_by_handle() const {
    return held_by_handle_.load(std::memory_order_relaxed);
  }
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

  // Of a slot that is not free.
  [[nodiscard]] NodeId node_id(std::size_t index) const;
  // The slot that `node` names now, or nullptr.
  [[nodiscard]] const Slot* slot_of(NodeId node) const;

  enum class WithoutHandle : std::uint8_t { kIsTaken, kIsRefused };
  [[nodiscard]] std::optional<NodeId> insert(Inode& inode, WithoutHandle without_handle);
  // The rest: under the lock.
  [[nodiscard]] std::uint32_t take_slot();
  void fill(Slot& slot, Inode inode);
  InodeRef empty(Slot& slot);
  [[nodiscard]] bool watermark_reached();
  void note_crowding();
  void note_scarcity(int fd);
  [[nodiscard]] bool is_scarce() const { return scarce_at_ != kNoLimit; }
  // How many descriptors inodes may hold now.
  [[nodiscard]] std::size_t limit() const;
  [[nodiscard]] std::size_t descriptors() const { return known_ - held_by_handle(); }

  const FileKey root_;
  bool names_durably_ = false;
  const std::size_t max_descriptors_;
  const std::size_t scarce_from_;
  const IoModes io_modes_;
  Watermark watermark_;  // its number guarded by mutex_: none once it was reached
  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t known_ = 0;  // slots that are not free
  std::atomic<std::size_t> held_by_handle_ = 0;
  std::atomic<bool> crowded_ = false;
  std::atomic<bool> wants_room_ = false;
  std::atomic<bool> full_ = false;
  bool waiting_helps_ = true;
  std::condition_variable room_;
  std::size_t scarce_at_ = kNoLimit;  // how many descriptors inodes held when others ran short
  std::size_t wants_room_above_;      // descriptors
  std::size_t hand_ = 0;              // the slot that oldest_with_descriptor() comes to next
  std::unordered_map<FileKey, std::uint32_t, KeyHash> by_key_;
  // Slots with a durable id whose file is no more, and whose number another file has by now.
  std::unordered_map<NodeId, std::uint32_t> outlived_;
};

}  // namespace ouro::passthrough
