#include "passthrough/file_locks.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <set>
#include <system_error>
#include <utility>

namespace ouro::passthrough {

using loop::fail;
using loop::Result;
using loop::Status;

// What a closed file of the client has still locked.
class FileLocks::LetGo {
 public:
  LetGo(FileLocks& locks, std::shared_ptr<FileHandle> file, std::vector<LockTable::OwnedRef> owned,
        Flock flock)
      : locks_(locks), file_(std::move(file)), owned_(std::move(owned)), flock_(flock) {}
  LetGo(const LetGo&) = delete;
  LetGo& operator=(const LetGo&) = delete;
  ~LetGo() {
    for (const auto& owned : owned_) LockTable::close(*owned);
    // By itself, since a request that is still in progress may keep the file open.
    if (flock_ == Flock::kUnlock) {
      (void)locks_.table_.lock({.file = file_, .kind = LockKind::kWholeFile, .lock = {}});
    }
    locks_.gave_up(file_->inode().key);
  }

 private:
  FileLocks& locks_;
  const std::shared_ptr<FileHandle> file_;
  const std::vector<LockTable::OwnedRef> owned_;
  const Flock flock_;
};

FileLocks::~FileLocks() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Status FileLocks::lock(const LockRequest& request) {
  OURO_TRY(table_.lock(request));
  // It may be less than before. A failure can be so too (flock() gives up its shared lock before it
  // asks for the other): that comes to light after the pause.
  if (request.lock.type != LockType::kWrite) gave_up(request.file->inode().key);
  return {};
}

Result<LockWait> FileLocks::lock_or_wait(const LockRequest& request, std::uint64_t id,
                                         LockListener& listener) {
  const Status now = lock(request);
  if (now) return LockWait::kNone;
  if (now.error() != loop::Errno(EAGAIN)) return tl::unexpected(now.error());
  const std::lock_guard lock(mutex_);
  if (closes_circle(request)) return fail(EDEADLK);
  if (waits_.size() >= kMaxWaiting) return fail(ENOLCK);
  OURO_TRY(start_thread());
  // Due at once: it may have been given up since.
  waits_.push_back({request, id, &listener});
  due_ = true;
  wake_.notify_all();
  return LockWait::kBegun;
}

// Whether an owner that has what is wanted waits for something that the wanting one has, or for
// another owner of whom that is true, and so on.
bool FileLocks::closes_circle(const LockRequest& wanted) const {
  std::vector<const LockRequest*> pending{&wanted};
  std::set<LockOwner> seen;
  while (!pending.empty()) {
    const LockRequest& request = *pending.back();
    pending.pop_back();
    for (const LockOwner owner : table_.blockers(request)) {
      if (owner == wanted.owner) return true;
      if (!seen.insert(owner).second) continue;
      for (const Wait& wait : waits_) {
        if (wait.request.owner == owner) pending.push_back(&wait.request);
      }
    }
  }
  return false;
}

bool FileLocks::cancel(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto wait = std::ranges::find(waits_, id, &Wait::id);
  if (wait == waits_.end()) return false;
  if (&*wait == trying_) {
    wait->cancelled = true;
  } else {
    end_wait(wait, EINTR);
  }
  return true;
}

void FileLocks::abandon(const LockListener& listener) {
  std::unique_lock lock(mutex_);
  tried_.wait(lock, [&] { return trying_ == nullptr || trying_->listener != &listener; });
  for (auto wait = waits_.begin(); wait != waits_.end();) {
    // KERNEL: EINTR would become ERESTARTSYS, which no client may see without a signal.
    wait = wait->listener == &listener ? end_wait(wait, ENOLCK) : std::next(wait);
  }
}

void FileLocks::close_owner(const FileHandle& file, LockOwner owner) {
  const auto owned = table_.take_owner(file.inode().key, owner);
  if (!owned) return;
  LockTable::close(*owned);
  gave_up(file.inode().key);
}

std::shared_ptr<const void> FileLocks::release(std::shared_ptr<FileHandle> file,
                                               std::uint64_t handle, Flock flock) {
  if (!file) return nullptr;
  auto owned = table_.take_handle(file->inode().key, handle);
  if (owned.empty() && flock == Flock::kNone) return file;
  return std::make_shared<LetGo>(*this, std::move(file), std::move(owned), flock);
}

std::size_t FileLocks::waiting() const {
  const std::lock_guard lock(mutex_);
  return waits_.size();
}

// --- waiting -------------------------------------------------------------------------------------

void FileLocks::gave_up(const FileKey& key) {
  const std::lock_guard lock(mutex_);
  mark_due(key);
}

void FileLocks::mark_due(const FileKey& key) {
  for (Wait& wait : waits_) {
    if (wait.request.file->inode().key != key) continue;
    wait.due = true;
    due_ = true;
  }
  if (due_) wake_.notify_all();
}

Status FileLocks::start_thread() {
  if (thread_.joinable()) return {};
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error&) {
    return fail(ENOLCK);
  }
  return {};
}

void FileLocks::serve() {
  using std::chrono::nanoseconds;
  nanoseconds pause(kShortestPauseNs);
  std::unique_lock lock(mutex_);
  const auto is_woken = [this] { return stopping_ || due_; };
  while (!stopping_) {
    if (waits_.empty()) wake_.wait(lock, is_woken);
    if (wake_.wait_for(lock, pause, is_woken)) {
      pause = nanoseconds(kShortestPauseNs);
      try_due(lock, Turn::kInOrder);
      continue;
    }
    for (Wait& wait : waits_) wait.due = true;
    try_due(lock, pause < nanoseconds(kLongestPauseNs) ? Turn::kInOrder : Turn::kEverybody);
    pause = std::min(pause * 2, nanoseconds(kLongestPauseNs));
  }
}

void FileLocks::try_due(std::unique_lock<std::mutex>& lock, Turn turn) {
  due_ = false;
  refused_.clear();
  for (auto wait = waits_.begin(); wait != waits_.end() && !stopping_;) {
    const bool due = std::exchange(wait->due, false);
    const bool may_try = turn == Turn::kEverybody || !is_behind(*wait);
    wait = due && may_try ? try_one(lock, wait) : std::next(wait);
  }
}

bool FileLocks::is_behind(const Wait& wait) const {
  return std::ranges::any_of(refused_, [&](const LockRequest& earlier) {
    return earlier.kind == wait.request.kind && earlier.owner != wait.request.owner &&
           earlier.file->inode().key == wait.request.file->inode().key &&
           earlier.lock.conflicts(wait.request.lock);
  });
}

// Gives up `lock` meanwhile. What is being tried stays in the list.
FileLocks::Waits::iterator FileLocks::try_one(std::unique_lock<std::mutex>& lock,
                                              Waits::iterator wait) {
  trying_ = &*wait;
  lock.unlock();
  const Status got = table_.lock(wait->request);
  lock.lock();
  trying_ = nullptr;
  tried_.notify_all();
  if (got) {
    // A lock for reading may have taken the place of one for writing.
    if (wait->request.lock.type == LockType::kRead) mark_due(wait->request.file->inode().key);
    return end_wait(wait, 0);
  }
  const int error = got.error().value();
  if (error != EAGAIN) return end_wait(wait, error);
  if (wait->cancelled) return end_wait(wait, EINTR);
  refused_.push_back(wait->request);
  return std::next(wait);
}

FileLocks::Waits::iterator FileLocks::end_wait(Waits::iterator wait, int errno_value) {
  // Listeners may go away once they are abandoned, so they are told with the mutex held.
  wait->listener->lock_wait_ended(wait->id, errno_value);
  return waits_.erase(wait);
}

}  // namespace ouro::passthrough
