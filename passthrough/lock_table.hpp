// The locks that clients have on files of the source, held there for them: whoever locks the same
// file natively is excluded, and excludes.
//
// A lock of byte ranges (fcntl) belongs to its owner, which is a process with all its threads, and
// to the file. The daemon is one process, so each owner has an open file description of each file
// that it locks, and the locks are those of the description (F_OFD_SETLK): they split, merge and
// exclude like POSIX locks, and go with the descriptor. A lock of a whole file (flock) belongs to
// the client's open file, as it belongs to our descriptor of it.
//
// Any thread; nothing here ever waits for a lock. What an owner has is also kept as plain ranges:
// to tell who holds what somebody else wants, which the kernel does not say of such locks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "passthrough/file_handle.hpp"
#include "passthrough/lock_ranges.hpp"

namespace ouro::passthrough {

using LockOwner = std::uint64_t;

// What kind of lock: they do not see each other.
enum class LockKind : std::uint8_t { kRanges, kWholeFile };

struct LockRequest {
  std::shared_ptr<FileHandle> file;
  std::uint64_t handle = 0;  // the id of `file`
  LockKind kind = LockKind::kRanges;
  LockOwner owner = 0;
  pid_t pid = 0;   // who asks; 0: unknown
  RangeLock lock;  // of a whole file the type alone counts
};

struct HeldLock {
  RangeLock lock;
  pid_t pid = 0;  // 0: unknown
};

class LockTable {
 public:
  // Sets or removes a lock. Errors: EAGAIN if another one has it; ENOLCK where the daemon cannot
  // open the file once more.
  [[nodiscard]] loop::Status lock(const LockRequest& request);
  // What keeps the owner from `request`; of byte ranges only.
  [[nodiscard]] loop::Result<std::optional<HeldLock>> conflict(const LockRequest& request);
  // Who of our clients does; with duplicates.
  [[nodiscard]] std::vector<LockOwner> blockers(const LockRequest& request) const;

  // What one owner has of one file. Closed by close(), or with the last reference.
  class Owned;
  using OwnedRef = std::shared_ptr<Owned>;
  // Takes out what `owner` has of the file, and what was last locked by that handle.
  [[nodiscard]] OwnedRef take_owner(const FileKey& key, LockOwner owner);
  [[nodiscard]] std::vector<OwnedRef> take_handle(const FileKey& key, std::uint64_t handle);
  static void close(Owned& owned);

  // How many descriptors are held.
  [[nodiscard]] std::size_t size() const;

 private:
  using Owners = std::vector<OwnedRef>;

  [[nodiscard]] static OwnedRef find_in(const Owners& owners, LockOwner owner);
  [[nodiscard]] OwnedRef find(const LockRequest& request) const;
  [[nodiscard]] OwnedRef find_or_add(const LockRequest& request);
  [[nodiscard]] loop::Status lock_ranges(const LockRequest& request);
  [[nodiscard]] static loop::Status lock_file(const LockRequest& request);
  [[nodiscard]] pid_t holder_of(const LockRequest& request, const RangeLock& lock) const;

  template <typename Wanted>
  [[nodiscard]] std::vector<OwnedRef> take(const FileKey& key, Wanted wanted);

  struct KeyOrder {
    bool operator()(const FileKey& a, const FileKey& b) const {
      return std::tie(a.device, a.inode, a.mount) < std::tie(b.device, b.inode, b.mount);
    }
  };

  mutable std::mutex mutex_;
  // Guarded by mutex_. An owner stays until it closes the file, whether it still has a lock or not:
  // most lock again.
  std::map<FileKey, Owners, KeyOrder> owners_;
};

}  // namespace ouro::passthrough
