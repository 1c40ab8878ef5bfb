#include "passthrough/content_history.hpp"

#include <fcntl.h>

#include <algorithm>

#include "passthrough/inode.hpp"

namespace ouro::passthrough {

void ContentHistory::end() {
  node_.store(0, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  ++moment_;  // what is being looked at is not what counts
  left_.reset();
  dropped_for_ = foreign_changes_;
}

void ContentHistory::look(int fd) {
  std::uint64_t moment = 0;
  {
    const std::lock_guard lock(mutex_);
    if (changing_ > 0) return;  // nothing can be told
    moment = moment_;
  }
  constexpr unsigned kMask = STATX_SIZE | STATX_MTIME;
  struct ::statx stat {};
  const bool looked = ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, kMask, &stat) == 0;
  if (!looked || (stat.stx_mask & kMask) != kMask) return;
  saw(moment, {stat.stx_size, stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec});
}

void ContentHistory::saw(std::uint64_t moment, const Stamp& found) {
  const std::lock_guard lock(mutex_);
  if (moment != moment_) return;  // a change of ours has begun since, and perhaps ended
  if (left_ && *left_ != found) ++foreign_changes_;
  left_ = found;
}

void ContentHistory::begin_change(int fd) {
  look(fd);
  const std::lock_guard lock(mutex_);
  ++moment_;
  ++changing_;
  left_.reset();
}

void ContentHistory::end_change(int fd) {
  {
    const std::lock_guard lock(mutex_);
    ++moment_;
    --changing_;
  }
  look(fd);
}

void ContentHistory::begin_cached_open() {
  const std::lock_guard lock(mutex_);
  ++cached_opens_;
  may_have_pages_ = true;
}

void ContentHistory::end_cached_open() {
  const std::lock_guard lock(mutex_);
  --cached_opens_;
}

bool ContentHistory::is_open_cached() const {
  const std::lock_guard lock(mutex_);
  return cached_opens_ > 0;
}

bool ContentHistory::may_have_pages() const {
  const std::lock_guard lock(mutex_);
  return may_have_pages_;
}

void ContentHistory::all_pages_dropped() {
  const std::lock_guard lock(mutex_);
  if (cached_opens_ == 0) may_have_pages_ = false;
}

std::uint64_t ContentHistory::foreign_change() const {
  const std::lock_guard lock(mutex_);
  return foreign_changes_ > dropped_for_ ? foreign_changes_ : 0;
}

void ContentHistory::pages_dropped(std::uint64_t foreign_change) {
  const std::lock_guard lock(mutex_);
  dropped_for_ = std::max(dropped_for_, foreign_change);
}

ContentChange::ContentChange(const Inode& inode, int fd)
    : history_(inode.content && inode.content->node() != 0 ? inode.content.get() : nullptr),
      fd_(fd) {
  if (history_ != nullptr) history_->begin_change(fd_);
}

ContentChange::~ContentChange() {
  if (history_ != nullptr) history_->end_change(fd_);
}

}  // namespace ouro::passthrough
