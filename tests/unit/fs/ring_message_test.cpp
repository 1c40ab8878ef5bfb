#include "fs/ring_message.hpp"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/fs/requests.hpp"

namespace ouro::fs {
namespace {

class RingMessageTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kPayloadBytes = 8192;

  // Lays a message out as the kernel does: header, first argument, the rest.
  void deliver(const Message& message, std::size_t first_argument_bytes) {
    const std::vector<std::byte> bytes = message.encode();
    const auto arguments = std::span(bytes).subspan(sizeof(fuse_in_header));
    std::memcpy(at_.header().in_out, bytes.data(), sizeof(fuse_in_header));
    std::memcpy(at_.header().op_in, arguments.data(), first_argument_bytes);
    const auto rest = arguments.subspan(first_argument_bytes);
    std::memcpy(at_.payload().data(), rest.data(), rest.size());
    at_.header().entry.payload_sz = static_cast<std::uint32_t>(rest.size());
    at_.header().entry.commit_id = message.header().unique;
  }
  [[nodiscard]] std::vector<std::byte> received() {
    const auto request = at_.request();
    return request ? std::vector<std::byte>(request->begin(), request->end())
                   : std::vector<std::byte>();
  }

  alignas(4096) std::array<std::byte, SlotMemory::kFrontBytes + kPayloadBytes> memory_{};
  RingMessage at_{memory_.data(), std::span(memory_).subspan(SlotMemory::kFrontBytes)};
};

TEST_F(RingMessageTest, PutsTogetherWhatTheKernelHasTakenApart) {
  const Message message = requests::mkdir("directory", 0755).unique(7);
  deliver(message, sizeof(fuse_mkdir_in));
  EXPECT_EQ(received(), message.encode());
  EXPECT_EQ(at_.unique(), 7U);
  EXPECT_EQ(at_.commit_id(), 7U);
}

TEST_F(RingMessageTest, ARequestMayHaveNoFirstArgument) {
  const Message message = requests::lookup("name");
  deliver(message, 0);
  EXPECT_EQ(received(), message.encode());
}

TEST_F(RingMessageTest, TheDataOfAWriteStaysWhereItIs) {
  deliver(requests::write(1, 0, "data"), sizeof(fuse_write_in));
  const auto request = at_.request();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->last(4).data(), at_.payload().data());
}

TEST_F(RingMessageTest, LengthsThatDoNotAgreeAreRefused) {
  const Message message = requests::lookup("name");
  deliver(message, 0);
  ASSERT_FALSE(received().empty());
  at_.header().entry.payload_sz = kPayloadBytes + 1;
  EXPECT_TRUE(received().empty()) << "more than the buffer holds";
  at_.header().entry.payload_sz = static_cast<std::uint32_t>(message.encode().size());
  EXPECT_TRUE(received().empty()) << "more than the message has";
  deliver(requests::lookup("name").claim_bytes(39), 0);
  EXPECT_TRUE(received().empty()) << "less than a header";
  deliver(requests::lookup("name").claim_bytes(40 + 5 + wire::kRingHeaderBytes + 1), 0);
  EXPECT_TRUE(received().empty()) << "a first argument that is larger than its place";
}

TEST_F(RingMessageTest, TheReplyTakesThePlaceOfTheHeader) {
  deliver(requests::lookup("name").unique(9), 0);
  at_.put_reply(9, 0, 128);
  fuse_out_header out;
  std::memcpy(&out, at_.header().in_out, sizeof out);
  EXPECT_EQ(out.len, sizeof out + 128);
  EXPECT_EQ(out.error, 0);
  EXPECT_EQ(out.unique, 9U);
  EXPECT_EQ(at_.header().entry.payload_sz, 128U);
  EXPECT_EQ(at_.commit_id(), 9U);
  at_.put_reply(9, ENOENT, 0);
  std::memcpy(&out, at_.header().in_out, sizeof out);
  EXPECT_EQ(out.error, -ENOENT);
  EXPECT_EQ(at_.header().entry.payload_sz, 0U);
}

}  // namespace
}  // namespace ouro::fs
