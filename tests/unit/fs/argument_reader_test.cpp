#include "fs/argument_reader.hpp"

#include <array>
#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>

namespace ouro::fs {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

using namespace std::string_view_literals;

TEST(ArgumentReader, ReadsStructsInOrder) {
  const std::array<std::uint32_t, 3> words{1, 2, 3};
  ArgumentReader reader(std::as_bytes(std::span(words)));
  std::uint64_t first_two = 0;
  std::uint32_t third = 0;
  EXPECT_TRUE(reader.read(first_two));
  EXPECT_TRUE(reader.read(third));
  EXPECT_EQ(first_two, std::uint64_t{2} << 32 | 1);
  EXPECT_EQ(third, 3U);
  EXPECT_TRUE(reader.rest().empty());
}

TEST(ArgumentReader, TooFewBytesChangeNothing) {
  const std::array<std::byte, 7> bytes{};
  ArgumentReader reader(bytes);
  std::uint64_t value = 42;
  EXPECT_FALSE(reader.read(value));
  EXPECT_EQ(value, 42U);
  EXPECT_EQ(reader.rest().size(), 7U);
  std::uint32_t half = 42;
  EXPECT_TRUE(reader.read(half));
  EXPECT_FALSE(reader.read(half));
  EXPECT_EQ(reader.rest().size(), 3U);
}

TEST(ArgumentReader, ReadsFromUnalignedBytes) {
  alignas(8) const std::array<std::uint8_t, 12> bytes{0,    0xef, 0xcd, 0xab, 0x89, 0x67,
                                                      0x45, 0x23, 1,    0,    0,    0};
  ArgumentReader reader(std::as_bytes(std::span(bytes)).subspan(1));
  std::uint64_t value = 0;
  EXPECT_TRUE(reader.read(value));
  EXPECT_EQ(value, 0x0123456789abcdefU);
}

TEST(ArgumentReader, TakesNamesOneByOne) {
  ArgumentReader reader(as_bytes("old\0new\0rest"sv));
  EXPECT_STREQ(reader.name(), "old");
  EXPECT_STREQ(reader.name(), "new");
  EXPECT_EQ(reader.rest().size(), 4U);
  EXPECT_EQ(reader.name(), nullptr) << "no NUL follows";
  EXPECT_EQ(reader.rest().size(), 4U);
}

TEST(ArgumentReader, AnEmptyNameIsAName) {
  ArgumentReader reader(as_bytes("\0"sv));
  EXPECT_STREQ(reader.name(), "");
  EXPECT_EQ(reader.name(), nullptr);
}

TEST(ArgumentReader, NothingIsReadFromNothing) {
  ArgumentReader reader({});
  std::uint8_t byte = 1;
  EXPECT_FALSE(reader.read(byte));
  EXPECT_EQ(reader.name(), nullptr);
  EXPECT_TRUE(reader.rest().empty());
}

TEST(ArgumentReader, ANameEndsWithinTheBytes) {
  // The NUL that lies just behind the span must not be found.
  ArgumentReader reader(as_bytes("name\0"sv).first(4));
  EXPECT_EQ(reader.name(), nullptr);
}

}  // namespace
}  // namespace ouro::fs
