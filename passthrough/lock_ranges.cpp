#include "passthrough/lock_ranges.hpp"

#include <algorithm>
#include <utility>

namespace ouro::passthrough {

void LockRanges::set(const RangeLock& lock) {
  std::vector<RangeLock> pieces;
  for (const RangeLock& old : std::exchange(locks_, {})) {
    if (!old.overlaps(lock)) {
      pieces.push_back(old);
      continue;
    }
    if (old.first < lock.first) pieces.push_back({old.type, old.first, lock.first - 1});
    if (old.last > lock.last) pieces.push_back({old.type, lock.last + 1, old.last});
  }
  if (lock.type != LockType::kNone) pieces.push_back(lock);
  std::ranges::sort(pieces, {}, &RangeLock::first);
  for (const RangeLock& piece : pieces) add(piece);
}

void LockRanges::add(const RangeLock& lock) {
  const bool goes_on =
      !locks_.empty() && locks_.back().type == lock.type && locks_.back().last + 1 == lock.first;
  if (goes_on) {
    locks_.back().last = lock.last;
  } else {
    locks_.push_back(lock);
  }
}

const RangeLock* LockRanges::conflict(const RangeLock& wanted) const {
  const auto found =
      std::ranges::find_if(locks_, [&](const RangeLock& lock) { return lock.conflicts(wanted); });
  return found == locks_.end() ? nullptr : &*found;
}

}  // namespace ouro::passthrough
