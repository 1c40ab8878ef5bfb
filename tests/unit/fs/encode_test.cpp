#include "fs/encode.hpp"

#include <sys/sysmacros.h>

#include <array>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace ouro::fs {
namespace {

struct ::statx example() {
  struct ::statx stat {};
  stat.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  stat.stx_blksize = 4096;
  stat.stx_attributes = STATX_ATTR_IMMUTABLE;
  stat.stx_attributes_mask = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
  stat.stx_nlink = 3;
  stat.stx_uid = 1000;
  stat.stx_gid = 1001;
  stat.stx_mode = S_IFREG | 0640;
  stat.stx_ino = 0x1122334455667788U;
  stat.stx_size = 0x7fffffffffffffffU;
  stat.stx_blocks = 24;
  stat.stx_atime = {1, 111'111'111, 0};
  stat.stx_btime = {2, 222'222'222, 0};
  stat.stx_ctime = {3, 333'333'333, 0};
  stat.stx_mtime = {-4, 999'999'999, 0};
  stat.stx_dev_major = 8;
  stat.stx_dev_minor = 17;
  return stat;
}

TEST(Encode, Attributes) {
  fuse_attr out{};
  encode(example(), out);
  fuse_attr expected{};
  expected.ino = 0x1122334455667788U;
  expected.size = 0x7fffffffffffffffU;
  expected.blocks = 24;
  expected.atime = 1;
  expected.mtime = static_cast<std::uint64_t>(-4);  // before 1970: two's complement
  expected.ctime = 3;
  expected.atimensec = 111'111'111;
  expected.mtimensec = 999'999'999;
  expected.ctimensec = 333'333'333;
  expected.mode = S_IFREG | 0640;
  expected.nlink = 3;
  expected.uid = 1000;
  expected.gid = 1001;
  expected.blksize = 4096;
  EXPECT_EQ(std::memcmp(&out, &expected, sizeof out), 0);
}

TEST(Encode, Statx) {
  wire::Statx out{};
  const struct ::statx stat = example();
  encode(stat, out);
  EXPECT_EQ(out.mask, stat.stx_mask);
  EXPECT_EQ(out.blksize, 4096U);
  EXPECT_EQ(out.attributes, stat.stx_attributes);
  EXPECT_EQ(out.attributes_mask, stat.stx_attributes_mask);
  EXPECT_EQ(out.nlink, 3U);
  EXPECT_EQ(out.uid, 1000U);
  EXPECT_EQ(out.gid, 1001U);
  EXPECT_EQ(out.mode, S_IFREG | 0640);
  EXPECT_EQ(out.ino, stat.stx_ino);
  EXPECT_EQ(out.size, stat.stx_size);
  EXPECT_EQ(out.blocks, 24U);
  EXPECT_EQ(out.atime.tv_sec, 1);
  EXPECT_EQ(out.btime.tv_sec, 2);
  EXPECT_EQ(out.ctime.tv_sec, 3);
  EXPECT_EQ(out.mtime.tv_sec, -4);
  EXPECT_EQ(out.atime.tv_nsec, 111'111'111U);
  EXPECT_EQ(out.btime.tv_nsec, 222'222'222U);
  EXPECT_EQ(out.ctime.tv_nsec, 333'333'333U);
  EXPECT_EQ(out.mtime.tv_nsec, 999'999'999U);
  EXPECT_EQ(out.dev_major, 8U);
  EXPECT_EQ(out.dev_minor, 17U);
}

// KERNEL: new_decode_dev(), what the client makes of the field.
dev_t decoded_by_the_kernel(std::uint32_t device) {
  return ::makedev((device & 0xfff00U) >> 8, (device & 0xffU) | ((device >> 12) & 0xfff00U));
}

TEST(Encode, DeviceNumbers) {
  const std::array<std::array<std::uint32_t, 2>, 7> devices{
      {{0, 0}, {1, 3}, {8, 255}, {8, 256}, {259, 1'000'000}, {4095, 0}, {4095, 0xfffff}}};
  for (const auto& [major, minor] : devices) {
    struct ::statx stat {};
    stat.stx_rdev_major = major;
    stat.stx_rdev_minor = minor;
    fuse_attr out{};
    encode(stat, out);
    EXPECT_EQ(decoded_by_the_kernel(out.rdev), ::makedev(major, minor)) << major << ":" << minor;
  }
}

TEST(Encode, StatxCarriesDeviceNumbersInFull) {
  struct ::statx stat {};
  stat.stx_rdev_major = 259;
  stat.stx_rdev_minor = 1'000'000;
  wire::Statx out{};
  encode(stat, out);
  EXPECT_EQ(out.rdev_major, 259U);
  EXPECT_EQ(out.rdev_minor, 1'000'000U);
}

TEST(Encode, EntryHasItsTwoTimeouts) {
  CachePolicy cache;
  cache.entry_timeout_ns = 1'500'000'000;
  cache.attribute_timeout_ns = 86'400'000'000'001;
  passthrough::Entry entry;
  entry.node = std::uint64_t{7} << 32 | 9;
  entry.stat = example();
  fuse_entry_out out{};
  encode(entry, cache, out);
  EXPECT_EQ(out.nodeid, entry.node);
  EXPECT_EQ(out.generation, 0U) << "node ids are never reused, so the generation says nothing";
  EXPECT_EQ(out.entry_valid, 1U);
  EXPECT_EQ(out.entry_valid_nsec, 500'000'000U);
  EXPECT_EQ(out.attr_valid, 86'400U);
  EXPECT_EQ(out.attr_valid_nsec, 1U);
  EXPECT_EQ(out.attr.ino, entry.stat.stx_ino);
}

TEST(Encode, NegativeEntry) {
  CachePolicy cache;
  cache.negative_timeout_ns = 250'000'000;
  fuse_entry_out out{};
  out.nodeid = 5;
  encode_negative(cache, out);
  EXPECT_EQ(out.nodeid, 0U);
  EXPECT_EQ(out.entry_valid, 0U);
  EXPECT_EQ(out.entry_valid_nsec, 250'000'000U);
}

TEST(Encode, TheLongestTimeout) {
  std::uint64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  encode_timeout(std::numeric_limits<std::uint64_t>::max(), seconds, nanoseconds);
  EXPECT_EQ(seconds, 18'446'744'073U);
  EXPECT_EQ(nanoseconds, 709'551'615U);
}

}  // namespace
}  // namespace ouro::fs
