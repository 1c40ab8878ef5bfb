// The byte ranges that one owner has locked of one file, split and merged as fcntl(2) does it.
// A value, without a system call; one thread at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace ouro::passthrough {

enum class LockType : std::uint8_t { kRead, kWrite, kNone };

// The last byte of a range that has no end.
inline constexpr std::uint64_t kLastByte = std::numeric_limits<std::int64_t>::max();

struct RangeLock {
  LockType type = LockType::kNone;
  std::uint64_t first = 0;
  std::uint64_t last = kLastByte;  // belongs to it

  [[nodiscard]] bool overlaps(const RangeLock& other) const {
    return first <= other.last && other.first <= last;
  }
  // Whether two owners cannot have both.
  [[nodiscard]] bool conflicts(const RangeLock& other) const {
    const bool both_read = type == LockType::kRead && other.type == LockType::kRead;
    return overlaps(other) && !both_read;
  }
  friend bool operator==(const RangeLock&, const RangeLock&) = default;
};

class LockRanges {
 public:
  // What the range was before, it is no more. kNone unlocks.
  void set(const RangeLock& lock);
  // The first one that another owner's `wanted` conflicts with, or nullptr. Until the next set().
  [[nodiscard]] const RangeLock* conflict(const RangeLock& wanted) const;
  // In order, without overlap, and merged. Until the next set().
  [[nodiscard]] std::span<const RangeLock> all() const { return locks_; }

 private:
  void add(const RangeLock& lock);

  std::vector<RangeLock> locks_;
};

}  // namespace ouro::passthrough
