// Durations counted in buckets, so that percentiles of millions of calls take a few kilobytes and
// an increment each. A bucket is at most 1/64 of its duration wide. Belongs to one thread; those of
// several threads are merged when they have ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ouro::bench {

class Histogram {
 public:
  void add(std::uint64_t duration_ns) { ++counts_[bucket_of(duration_ns)]; }
  void merge(const Histogram& other);

  [[nodiscard]] std::uint64_t count() const;
  // The duration that `share` (0 to 1) of all do not exceed, by the upper end of its bucket; 0
  // where there are none.
  [[nodiscard]] std::uint64_t percentile_ns(double share) const;

  // The bucket of a duration, and the largest duration of a bucket.
  [[nodiscard]] static std::size_t bucket_of(std::uint64_t duration_ns);
  [[nodiscard]] static std::uint64_t upper_end_ns(std::size_t bucket);

 private:
  static constexpr unsigned kStepBits = 6;  // 64 buckets for each power of two
  static constexpr std::size_t kBuckets = std::size_t{65 - kStepBits} << kStepBits;

  std::array<std::uint64_t, kBuckets> counts_{};
};

}  // namespace ouro::bench
