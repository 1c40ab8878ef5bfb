#include "bench/load/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace ouro::bench {

std::size_t Histogram::bucket_of(std::uint64_t duration_ns) {
  const auto width = static_cast<unsigned>(std::bit_width(duration_ns));
  if (width <= kStepBits) return static_cast<std::size_t>(duration_ns);
  // The leading bit says which row of buckets, the next ones which of the row.
  const unsigned shift = width - kStepBits - 1;
  const std::uint64_t step = (duration_ns >> shift) - (std::uint64_t{1} << kStepBits);
  return ((std::size_t{shift} + 1) << kStepBits) + static_cast<std::size_t>(step);
}

std::uint64_t Histogram::upper_end_ns(std::size_t bucket) {
  const std::uint64_t row = bucket >> kStepBits;
  const std::uint64_t step = bucket & ((std::size_t{1} << kStepBits) - 1);
  if (row == 0) return step;
  const std::uint64_t first = ((std::uint64_t{1} << kStepBits) + step) << (row - 1);
  return first + ((std::uint64_t{1} << (row - 1)) - 1);
}

void Histogram::merge(const Histogram& other) {
  std::transform(counts_.begin(), counts_.end(), other.counts_.begin(), counts_.begin(),
                 std::plus<>());
}

std::uint64_t Histogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

std::uint64_t Histogram::percentile_ns(double share) const {
  const std::uint64_t all = count();
  if (all == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(all)));
  const std::uint64_t rank = std::clamp<std::uint64_t>(wanted, 1, all);
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  while ((seen += counts_[bucket]) < rank) ++bucket;
  return upper_end_ns(bucket);
}

}  // namespace ouro::bench
