#include "fs/request.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/fs/test_request.hpp"

namespace ouro::fs {
namespace {

// An extension of `type`, with `words` behind its header; it says that it has `bytes` bytes.
std::vector<std::byte> extension(std::uint32_t bytes, std::uint32_t type,
                                 std::vector<std::uint32_t> words) {
  words.insert(words.begin(), {bytes, type});
  const auto raw = std::as_bytes(std::span(words));
  return {raw.begin(), raw.end()};
}

TEST(Request, HeaderAndArguments) {
  TestRequest request;
  ASSERT_TRUE(request.receive(Message(FUSE_LOOKUP, 5).name("name").from(1, 2, 3).unique(4)));
  EXPECT_EQ(request.header().opcode, std::uint32_t{FUSE_LOOKUP});
  EXPECT_EQ(request.header().nodeid, 5U);
  EXPECT_EQ(request.arguments().size(), 5U);
  const passthrough::Caller caller = request.caller();
  EXPECT_EQ(caller.uid, 1U);
  EXPECT_EQ(caller.gid, 2U);
  EXPECT_EQ(caller.pid, 3);
  EXPECT_FALSE(caller.extra_group);
}

TEST(Request, WhoAsksIsLookedUpWhereItIsNotSaid) {
  TestRequest request;
  const pid_t us = ::getpid();
  ASSERT_TRUE(request.receive(Message(FUSE_WRITE).from(wire::kInvalidId, wire::kInvalidId, us)));
  EXPECT_EQ(request.caller().uid, ::geteuid());
  EXPECT_EQ(request.caller().gid, ::getegid());
  EXPECT_EQ(request.caller().pid, us);
  for (const pid_t unknown : {pid_t{0}, pid_t{0x7fffffff}}) {
    ASSERT_TRUE(
        request.receive(Message(FUSE_WRITE).from(wire::kInvalidId, wire::kInvalidId, unknown)));
    EXPECT_EQ(request.caller().uid, 65534U) << "nobody, whatever that clears";
    EXPECT_EQ(request.caller().gid, 65534U);
  }
}

TEST(Request, AMessageWithoutArguments) {
  TestRequest request;
  ASSERT_TRUE(request.receive(Message(FUSE_STATFS)));
  EXPECT_TRUE(request.arguments().empty());
}

TEST(Request, LengthsThatAreWrong) {
  TestRequest request;
  EXPECT_FALSE(request.receive(Message(FUSE_LOOKUP).name("x").claim_bytes(41)));
  EXPECT_FALSE(request.receive(Message(FUSE_LOOKUP).name("x").claim_bytes(43)));
  EXPECT_FALSE(request.receive(Message(FUSE_LOOKUP).name("x").claim_bytes(0)));
  EXPECT_FALSE(request.receive(Message(FUSE_LOOKUP).zeros(7).claim_extension_units(1)));
  EXPECT_FALSE(request.receive(Message(FUSE_LOOKUP).zeros(8).claim_extension_units(0xffff)));
  EXPECT_TRUE(request.receive(Message(FUSE_LOOKUP).zeros(8).claim_extension_units(1)));
  EXPECT_TRUE(request.arguments().empty());
}

TEST(Request, TheExtensionsAreNoArguments) {
  TestRequest request;
  ASSERT_TRUE(request.receive(Message(FUSE_MKDIR).name("1234567").extra_group(1000)));
  EXPECT_EQ(request.arguments().size(), 8U);
  EXPECT_EQ(request.caller().extra_group, gid_t{1000});
}

TEST(Request, AnExtensionOfAnotherKindIsSkipped) {
  TestRequest request;
  // FUSE_SECCTX_EXT would be 31 and below; 33 is none that we know.
  ASSERT_TRUE(
      request.receive(Message(FUSE_MKDIR).extension(extension(16, 33, {7, 8})).extra_group(1000)));
  EXPECT_EQ(request.caller().extra_group, gid_t{1000});
}

TEST(Request, GroupsThatAreNone) {
  const auto group_of = [](const std::vector<std::byte>& raw) {
    TestRequest request;
    EXPECT_TRUE(request.receive(Message(FUSE_MKDIR).extension(raw)));
    return request.caller().extra_group;
  };
  EXPECT_FALSE(group_of(extension(16, wire::kExtGroups, {0, 1000}))) << "no groups";
  EXPECT_FALSE(group_of(extension(8, wire::kExtGroups, {1, 1000}))) << "it ends before its group";
  EXPECT_FALSE(group_of(extension(12, wire::kExtGroups, {1, 1000}))) << "the same";
  EXPECT_FALSE(group_of(extension(0, wire::kExtGroups, {1, 1000}))) << "it would never end";
  EXPECT_FALSE(group_of(extension(7, wire::kExtGroups, {1, 1000})));
  EXPECT_FALSE(group_of(extension(17, wire::kExtGroups, {1, 1000}))) << "it is longer than all";
  EXPECT_FALSE(group_of(extension(0xffffffff, wire::kExtGroups, {1, 1000})));
  EXPECT_EQ(group_of(extension(16, wire::kExtGroups, {0xffffffff, 1000})), gid_t{1000})
      << "the first one counts, whatever their number";
}

TEST(Request, ReplyAndError) {
  TestRequest request;
  ASSERT_TRUE(request.receive(Message(FUSE_STATFS)));
  EXPECT_EQ(request.error(), 0);
  EXPECT_TRUE(request.reply_payload().empty());
  request.succeed(10);
  EXPECT_EQ(request.reply_payload().size(), 10U);
  EXPECT_EQ(request.reply_payload().data(), request.payload().data());
  request.fail(ENOENT);
  EXPECT_EQ(request.error(), ENOENT);
  EXPECT_TRUE(request.reply_payload().empty());
  request.succeed(3);
  EXPECT_EQ(request.error(), 0);
  ASSERT_TRUE(request.receive(Message(FUSE_STATFS)));
  EXPECT_TRUE(request.reply_payload().empty());
}

TEST(Request, HasHugePagesFromTheFirstLargeDirectTransferOn) {
  class Counting final : public Request {
   public:
    explicit Counting(std::span<std::byte> payload) : Request(payload) {}
    unsigned times = 0;

   private:
    void use_huge_pages() override { ++times; }
  };
  std::array<std::byte, 16> payload{};
  Counting request(payload);
  request.expect_direct(0);
  request.expect_direct((16 << 10) - 1);
  EXPECT_EQ(request.times, 0U);
  request.expect_direct(16 << 10);
  EXPECT_EQ(request.times, 1U);
  request.expect_direct(4096);
  request.expect_direct(1 << 20);
  EXPECT_EQ(request.times, 1U);
}

TEST(Request, AReplyStructIsAllZero) {
  TestRequest request;
  std::fill(request.payload().begin(), request.payload().end(), std::byte{0xff});
  const auto& out = request.reply_struct<fuse_entry_out>();
  const auto bytes = std::as_bytes(std::span(&out, 1));
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0}), 128);
  EXPECT_EQ(static_cast<const void*>(&out), static_cast<const void*>(request.payload().data()));
  EXPECT_EQ(request.payload()[sizeof out], std::byte{0xff});
}

}  // namespace
}  // namespace ouro::fs
