#include "mount-helper/byte_size.hpp"

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

TEST(ByteSize, IsReadWithItsUnit) {
  EXPECT_EQ(parse_byte_size("0"), 0U);
  EXPECT_EQ(parse_byte_size("4097"), 4097U);
  EXPECT_EQ(parse_byte_size("128K"), 128U << 10U);
  EXPECT_EQ(parse_byte_size("128k"), 128U << 10U);
  EXPECT_EQ(parse_byte_size("3M"), 3U << 20U);
  EXPECT_EQ(parse_byte_size("3m"), 3U << 20U);
  EXPECT_EQ(parse_byte_size("4294967295M"), 4294967295ULL << 20U) << "nothing overflows";
}

TEST(ByteSize, AnythingElseIsNone) {
  for (const char* text : {"", "K", "M", "-1", "+1", " 1", "1 ", "1KB", "1KK", "1G", "1.5M", "0x10",
                           "4294967296", "99999999999999999999"}) {
    EXPECT_EQ(parse_byte_size(text), std::nullopt) << text;
  }
}

TEST(ByteSize, IsShownInTheLargestUnitThatFits) {
  EXPECT_EQ(byte_size_text(0), "0");
  EXPECT_EQ(byte_size_text(1000), "1000");
  EXPECT_EQ(byte_size_text(1024), "1K");
  EXPECT_EQ(byte_size_text(1536U << 10U), "1536K");
  EXPECT_EQ(byte_size_text(4U << 20U), "4M");
  EXPECT_EQ(byte_size_text(2048U << 20U), "2048M");
  EXPECT_EQ(parse_byte_size(byte_size_text(65535U * 4096)), 65535U * 4096) << "and read again";
}

}  // namespace
}  // namespace ouro::mount_helper
