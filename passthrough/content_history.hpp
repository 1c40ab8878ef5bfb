// Whose changes the content of a file has seen: ours, which came through the mount and of which the
// kernel's client has kept its pages true, or others', for which it must drop them.
//
// Told by size and mtime, as NFS does it (RFC 1813, weak cache consistency data): they are looked
// at before and after each change of ours and whenever somebody asks for attributes. What is not as
// it was left is the change of somebody else. Not told: one that leaves both alone, and one in the
// very moment of ours, between two looks. The client cannot do this for us: it takes every new
// mtime for somebody else's (FUSE_AUTO_INVAL_DATA), and then drops a page that it has just written,
// reads it anew before the WRITE has been carried out, and keeps the old content.
//
// Any thread.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

namespace ouro::passthrough {

class ContentHistory {
 public:
  // A first opening: from now on the client may have pages of the file, which it knows as `node`.
  void begin(std::uint64_t node) { node_.store(node, std::memory_order_relaxed); }
  // The client has no pages, and will get none until that is called again.
  void end();
  // 0 before that.
  [[nodiscard]] std::uint64_t node() const { return node_.load(std::memory_order_relaxed); }

  // Looks at the file behind `fd`. Never asks a network for it (AT_STATX_DONT_SYNC).
  void look(int fd);
  // Around a change of ours; `fd` is any descriptor of the file. Such changes may overlap.
  void begin_change(int fd);
  void end_change(int fd);

  // For as long as somebody has the file open who reads and writes it by the client's pages.
  void begin_cached_open();
  void end_cached_open();
  [[nodiscard]] bool is_open_cached() const;
  // Whether the client may have pages of the file: they outlive those who have it open.
  [[nodiscard]] bool may_have_pages() const;
  // All of them were dropped; to no avail while it is open like that.
  void all_pages_dropped();

  // The newest change by others that the client has not dropped its pages for; 0: none.
  [[nodiscard]] std::uint64_t foreign_change() const;
  // They are dropped, for all changes up to that one.
  void pages_dropped(std::uint64_t foreign_change);

 private:
  struct Stamp {
    std::uint64_t size = 0;
    std::int64_t mtime_s = 0;
    std::uint32_t mtime_ns = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  void saw(std::uint64_t moment, const Stamp& found);

  std::atomic<std::uint64_t> node_ = 0;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::uint64_t moment_ = 0;    // counts beginnings and ends of our changes
  std::uint32_t changing_ = 0;  // of ours, at this moment
  std::optional<Stamp> left_;   // as the file was left; empty: not known
  std::uint64_t foreign_changes_ = 0;
  std::uint64_t dropped_for_ = 0;
  std::uint32_t cached_opens_ = 0;
  bool may_have_pages_ = false;
};

struct Inode;

// A change of ours, for as long as it lives. Nothing where nobody watches.
class ContentChange {
 public:
  // `fd` is borrowed.
  ContentChange(const Inode& inode, int fd);
  ContentChange(const ContentChange&) = delete;
  ContentChange& operator=(const ContentChange&) = delete;
  ~ContentChange();

 private:
  ContentHistory* const history_;  // null: not watched
  const int fd_;
};

}  // namespace ouro::passthrough
