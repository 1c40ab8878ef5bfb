#include "passthrough/lock_table.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <span>

#include "passthrough/syscalls.hpp"

namespace ouro::passthrough {

using loop::fail;
using loop::from_libc;
using loop::Result;
using loop::Status;
using loop::UniqueFd;

// `mutex` is held across the system calls on `fd`, so that one owner's are done one at a time and
// `ranges` is what they amount to. What the table looks at in others is guarded by its own mutex.
class LockTable::Owned {
 public:
  Owned(LockOwner of, std::uint64_t by) : owner(of), handle(by) {}

  const LockOwner owner;
  std::mutex mutex;
  UniqueFd fd;            // guarded by mutex; empty before the first lock
  bool writable = false;  // the same: whether `fd` is
  bool closed = false;    // the same: taken out of the table meanwhile
  // Changed with both mutexes held, looked at with either of them.
  LockRanges ranges;
  pid_t pid = 0;         // guarded by the table's mutex: who locked last,
  std::uint64_t handle;  // and by which open file
};

namespace {

struct ::flock flock_of(const RangeLock& lock) {
  struct ::flock result {};
  result.l_type = lock.type == LockType::kRead    ? F_RDLCK
                  : lock.type == LockType::kWrite ? F_WRLCK
                                                  : F_UNLCK;
  result.l_whence = SEEK_SET;
  result.l_start = static_cast<off_t>(lock.first);
  // 0: to the end, wherever that will be.
  result.l_len = lock.last == kLastByte ? 0 : static_cast<off_t>(lock.last - lock.first + 1);
  return result;
}

RangeLock range_of(const struct ::flock& lock) {
  const auto first = static_cast<std::uint64_t>(lock.l_start);
  const auto bytes = static_cast<std::uint64_t>(lock.l_len);
  return {lock.l_type == F_RDLCK ? LockType::kRead : LockType::kWrite, first,
          bytes == 0 ? kLastByte : first + bytes - 1};
}

Status set_lock(int fd, const RangeLock& lock) {
  struct ::flock how = flock_of(lock);
  const loop::KernelResult result = from_libc(::fcntl(fd, F_OFD_SETLK, &how));
  // EACCES, and EBADF of a descriptor that is not open for it, mean other things to the client.
  if (result == -EACCES || result == -EAGAIN) return fail(EAGAIN);
  return result == -EBADF ? Status(fail(ENOLCK)) : loop::to_status(result);
}

struct Description {
  UniqueFd fd;
  bool writable;
};

// One that can be locked like `file`: a read-only file by a read-only description, since one for
// writing would keep a program in the source from being run.
Result<Description> open_description(const FileHandle& file) {
  const int flags = ::fcntl(file.buffered_fd(), F_GETFL);
  const bool writable = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
  const int append = file.appends_only() ? O_APPEND : 0;
  const ProcPath path(file.buffered_fd());
  const auto open = [&](int access) {
    return UniqueFd(::open(path.c_str(), access | append | O_CLOEXEC));
  };
  Description description{open(writable ? O_RDWR : O_RDONLY), writable};
  // A plain user's daemon may write a file that it must not read.
  if (!description.fd && writable) description.fd = open(O_WRONLY);
  if (!description.fd) return fail(ENOLCK);
  return description;
}

}  // namespace

Status LockTable::lock(const LockRequest& request) {
  return request.kind == LockKind::kRanges ? lock_ranges(request) : lock_file(request);
}

Status LockTable::lock_file(const LockRequest& request) {
  const int how = request.lock.type == LockType::kRead    ? LOCK_SH
                  : request.lock.type == LockType::kWrite ? LOCK_EX
                                                          : LOCK_UN;
  return loop::to_status(from_libc(::flock(request.file->buffered_fd(), how | LOCK_NB)));
}

Status LockTable::lock_ranges(const LockRequest& request) {
  for (;;) {
    const bool unlocks = request.lock.type == LockType::kNone;
    const OwnedRef owned = unlocks ? find(request) : find_or_add(request);
    if (!owned) return {};
    const std::lock_guard one_at_a_time(owned->mutex);
    // Another thread of the client has closed the file; what is locked now is locked anew.
    if (owned->closed) continue;
    const bool needs_writing = request.lock.type == LockType::kWrite && !owned->writable;
    if (!owned->fd || needs_writing) {
      OURO_TRY_ASSIGN(Description opened, open_description(*request.file));
      // What was locked by a read-only description can be locked once more by the new one.
      for (const RangeLock& held : owned->ranges.all()) {
        OURO_TRY(set_lock(opened.fd.get(), held));
      }
      owned->fd = std::move(opened.fd);
      owned->writable = opened.writable;
    }
    OURO_TRY(set_lock(owned->fd.get(), request.lock));
    const std::lock_guard lock(mutex_);
    owned->ranges.set(request.lock);
    if (!unlocks) {
      owned->pid = request.pid;
      owned->handle = request.handle;
    }
    return {};
  }
}

Result<std::optional<HeldLock>> LockTable::conflict(const LockRequest& request) {
  struct ::flock found = flock_of(request.lock);
  {
    const OwnedRef owned = find(request);
    std::unique_lock<std::mutex> one_at_a_time;
    if (owned) one_at_a_time = std::unique_lock(owned->mutex);
    // No owner has a lock by the other descriptor, so it sees those of everybody.
    const int fd = owned && owned->fd ? owned->fd.get() : request.file->buffered_fd();
    OURO_TRY(loop::to_status(from_libc(::fcntl(fd, F_OFD_GETLK, &found))));
  }
  if (found.l_type == F_UNLCK) return std::optional<HeldLock>();
  HeldLock held{range_of(found), found.l_pid};
  // KERNEL: -1, for a lock of a description; all of ours are.
  if (held.pid < 0) held.pid = holder_of(request, held.lock);
  return std::optional(held);
}

pid_t LockTable::holder_of(const LockRequest& request, const RangeLock& lock) const {
  const std::lock_guard guard(mutex_);
  const auto owners = owners_.find(request.file->inode().key);
  if (owners == owners_.end()) return 0;
  for (const OwnedRef& other : owners->second) {
    const auto held = other->ranges.all();
    if (other->owner != request.owner && std::ranges::find(held, lock) != held.end()) {
      return other->pid;
    }
  }
  return 0;
}

std::vector<LockOwner> LockTable::blockers(const LockRequest& request) const {
  std::vector<LockOwner> blockers;
  const std::lock_guard guard(mutex_);
  const auto owners = owners_.find(request.file->inode().key);
  if (request.kind != LockKind::kRanges || owners == owners_.end()) return blockers;
  for (const OwnedRef& other : owners->second) {
    if (other->owner != request.owner && other->ranges.conflict(request.lock) != nullptr) {
      blockers.push_back(other->owner);
    }
  }
  return blockers;
}

// --- the table -----------------------------------------------------------------------------------

LockTable::OwnedRef LockTable::find_in(const Owners& owners, LockOwner owner) {
  const auto found =
      std::ranges::find_if(owners, [&](const OwnedRef& owned) { return owned->owner == owner; });
  return found == owners.end() ? nullptr : *found;
}

LockTable::OwnedRef LockTable::find(const LockRequest& request) const {
  const std::lock_guard guard(mutex_);
  const auto owners = owners_.find(request.file->inode().key);
  return owners == owners_.end() ? nullptr : find_in(owners->second, request.owner);
}

LockTable::OwnedRef LockTable::find_or_add(const LockRequest& request) {
  const std::lock_guard guard(mutex_);
  Owners& owners = owners_[request.file->inode().key];
  if (auto found = find_in(owners, request.owner)) return found;
  owners.push_back(std::make_shared<Owned>(request.owner, request.handle));
  return owners.back();
}

template <typename Wanted>
std::vector<LockTable::OwnedRef> LockTable::take(const FileKey& key, Wanted wanted) {
  std::vector<OwnedRef> taken;
  const std::lock_guard guard(mutex_);
  const auto owners = owners_.find(key);
  if (owners == owners_.end()) return taken;
  Owners& all = owners->second;
  const auto rest = std::partition(all.begin(), all.end(), std::not_fn(wanted));
  taken.assign(rest, all.end());
  all.erase(rest, all.end());
  if (all.empty()) owners_.erase(owners);
  return taken;
}

LockTable::OwnedRef LockTable::take_owner(const FileKey& key, LockOwner owner) {
  const auto taken = take(key, [&](const OwnedRef& owned) { return owned->owner == owner; });
  return taken.empty() ? nullptr : taken.front();
}

std::vector<LockTable::OwnedRef> LockTable::take_handle(const FileKey& key, std::uint64_t handle) {
  return take(key, [&](const OwnedRef& owned) { return owned->handle == handle; });
}

void LockTable::close(Owned& owned) {
  const std::lock_guard one_at_a_time(owned.mutex);
  owned.closed = true;
  owned.fd.reset();
}

std::size_t LockTable::size() const {
  const std::lock_guard guard(mutex_);
  std::size_t count = 0;
  for (const auto& [key, owners] : owners_) count += owners.size();
  return count;
}

}  // namespace ouro::passthrough
