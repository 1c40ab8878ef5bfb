#include "fs/parked_requests.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fs/message.hpp"

namespace ouro::fs {
namespace {

void park(ParkedRequests& parked, std::uint64_t unique, std::size_t bytes = 0) {
  parked.push(Message(FUSE_WRITE).unique(unique).from(1, 2, 3).zeros(bytes).encode());
}

std::uint64_t pop(ParkedRequests& parked) {
  const std::vector<std::byte> message = parked.pop();
  fuse_in_header header;
  std::memcpy(&header, message.data(), sizeof header);
  EXPECT_EQ(header.len, message.size());
  return header.unique;
}

TEST(ParkedRequests, LeaveInTheirOrder) {
  ParkedRequests parked;
  for (const std::uint64_t unique : {2U, 4U, 6U}) park(parked, unique, unique);
  EXPECT_EQ(parked.size(), 3U);
  for (const std::uint64_t unique : {2U, 4U, 6U}) EXPECT_EQ(pop(parked), unique);
  EXPECT_TRUE(parked.empty());
}

TEST(ParkedRequests, AreFoundAndTakenOut) {
  ParkedRequests parked;
  for (const std::uint64_t unique : {2U, 4U, 6U}) park(parked, unique);
  ASSERT_TRUE(parked.find(4));
  EXPECT_EQ(parked.find(4)->pid, 3U);
  parked.remove(4);
  parked.remove(8);
  EXPECT_FALSE(parked.find(4));
  EXPECT_EQ(pop(parked), 2U);
  EXPECT_EQ(pop(parked), 6U);
}

TEST(ParkedRequests, AreBoundedInNumber) {
  ParkedRequests parked;
  for (std::size_t i = 0; i < ParkedRequests::kMaxCount; ++i) {
    EXPECT_FALSE(parked.full());
    park(parked, 2 * i);
  }
  EXPECT_TRUE(parked.full());
  parked.remove(2);
  EXPECT_FALSE(parked.full());
}

TEST(ParkedRequests, AreBoundedInBytes) {
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  ParkedRequests parked;
  for (std::uint64_t i = 0; i < ParkedRequests::kMaxBytes / kMebibyte; ++i) {
    EXPECT_FALSE(parked.full());
    park(parked, 2 * i, kMebibyte);
  }
  EXPECT_TRUE(parked.full());
  (void)pop(parked);
  EXPECT_FALSE(parked.full());
}

}  // namespace
}  // namespace ouro::fs
