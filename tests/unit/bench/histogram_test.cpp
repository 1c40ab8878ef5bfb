// The buckets have no gaps and are narrow enough; percentiles are those of a sorted list.
#include "bench/load/histogram.hpp"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace ouro::bench {
namespace {

TEST(Histogram, BucketsFollowEachOtherWithoutGaps) {
  std::size_t bucket = 0;
  std::uint64_t first = 0;
  for (; bucket < 2000; ++bucket) {
    EXPECT_EQ(Histogram::bucket_of(first), bucket) << first;
    EXPECT_EQ(Histogram::bucket_of(Histogram::upper_end_ns(bucket)), bucket);
    first = Histogram::upper_end_ns(bucket) + 1;
  }
  EXPECT_GT(first, 60'000'000'000U);  // a minute
}

TEST(Histogram, ABucketIsNoWiderThanASixtyFourthOfItsDurations) {
  for (std::uint64_t duration = 1; duration < std::uint64_t{1} << 60U;
       duration = duration * 3 + 1) {
    const std::uint64_t end = Histogram::upper_end_ns(Histogram::bucket_of(duration));
    EXPECT_GE(end, duration);
    EXPECT_LE(end - duration, duration / 64) << duration;
  }
}

TEST(Histogram, TheLongestDurationHasABucket) {
  Histogram histogram;
  constexpr auto kLongest = std::numeric_limits<std::uint64_t>::max();
  histogram.add(kLongest);
  EXPECT_EQ(histogram.percentile_ns(0.5), kLongest);
}

TEST(Histogram, PercentilesAreThoseOfASortedList) {
  Histogram histogram;
  EXPECT_EQ(histogram.percentile_ns(0.5), 0U);
  for (std::uint64_t duration = 1; duration <= 50; ++duration) histogram.add(duration);
  EXPECT_EQ(histogram.count(), 50U);
  EXPECT_EQ(histogram.percentile_ns(0), 1U);
  EXPECT_EQ(histogram.percentile_ns(0.5), 25U);
  EXPECT_EQ(histogram.percentile_ns(0.98), 49U);
  EXPECT_EQ(histogram.percentile_ns(0.99), 50U);
  EXPECT_EQ(histogram.percentile_ns(1), 50U);
}

TEST(Histogram, MergingCountsBoth) {
  Histogram fast;
  Histogram slow;
  for (int i = 0; i < 3; ++i) fast.add(10);
  slow.add(60);
  fast.merge(slow);
  EXPECT_EQ(fast.count(), 4U);
  EXPECT_EQ(fast.percentile_ns(0.75), 10U);
  EXPECT_EQ(fast.percentile_ns(0.99), 60U);
}

}  // namespace
}  // namespace ouro::bench
