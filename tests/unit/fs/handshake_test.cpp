#include "fs/handshake.hpp"

#include <gtest/gtest.h>

#include "tests/support/watchdog.hpp"
#include "tests/unit/fs/fake_kernel.hpp"

namespace ouro::fs {
namespace {

// What a kernel of today offers, and more: every bit.
constexpr std::uint32_t kEveryFlag = 0xffffffff;

Message init(std::uint32_t major, std::uint32_t minor, std::uint32_t flags,
             std::uint32_t flags2 = 0) {
  fuse_init_in in{};
  in.major = major;
  in.minor = minor;
  in.max_readahead = 131072;
  in.flags = flags;
  in.flags2 = flags2;
  return Message(FUSE_INIT, 0).with(in);
}

class Handshake : public ::testing::Test {
 protected:
  loop::Result<Negotiated> shake_hands(const HandshakeOptions& options = {}) {
    return handshake(kernel_.channel(), options);
  }

  const testing::Watchdog watchdog_{"a handshake", std::chrono::seconds(60)};
  FakeKernel kernel_;
};

class HandshakeOfMinor : public Handshake, public ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(HandshakeOfMinor, IsAccepted) {
  const std::uint64_t unique = kernel_.send(init(7, GetParam(), FUSE_MAX_PAGES | FUSE_ASYNC_READ));
  const auto negotiated = shake_hands();
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->kernel_minor, GetParam());
  EXPECT_EQ(negotiated->max_write_bytes, 1U << 20);
  EXPECT_EQ(negotiated->max_readahead_bytes, 131072U);
  const Answer answer = kernel_.wait(unique);
  EXPECT_EQ(answer.error(), 0);
  const auto out = answer.as<fuse_init_out>();
  EXPECT_EQ(out.major, 7U);
  EXPECT_EQ(out.minor, 45U);
  EXPECT_EQ(out.max_readahead, 131072U);
  EXPECT_EQ(out.max_write, 1U << 20);
  EXPECT_EQ(out.max_pages, 256U);
  EXPECT_EQ(out.time_gran, 1U);
  EXPECT_EQ(out.max_background, 64U);
  EXPECT_EQ(out.congestion_threshold, 48U);
  EXPECT_EQ(out.flags, std::uint32_t{FUSE_MAX_PAGES | FUSE_ASYNC_READ});
}

INSTANTIATE_TEST_SUITE_P(Minors, HandshakeOfMinor, ::testing::Range(31U, 47U));

TEST_F(Handshake, TakesOnlyWhatIsOfferedAndWanted) {
  const std::uint64_t unique = kernel_.send(init(7, 45, kEveryFlag, kEveryFlag));
  const auto negotiated = shake_hands();
  ASSERT_TRUE(negotiated);
  const auto out = kernel_.wait(unique).as<fuse_init_out>();
  EXPECT_EQ(out.flags | std::uint64_t{out.flags2} << 32, negotiated->flags);
  const std::uint64_t flags = negotiated->flags;
  for (const std::uint64_t wanted :
       {std::uint64_t{FUSE_ASYNC_READ}, std::uint64_t{FUSE_MAX_PAGES},
        std::uint64_t{FUSE_HANDLE_KILLPRIV_V2}, std::uint64_t{FUSE_SETXATTR_EXT},
        std::uint64_t{FUSE_INIT_EXT}, wire::kCreateSuppGroup, wire::kDirectIoAllowMmap}) {
    EXPECT_EQ(flags & wanted, wanted) << std::hex << wanted;
  }
  // What would make the kernel send what is not served, or expect what is not done.
  for (const std::uint64_t unwanted :
       {std::uint64_t{FUSE_POSIX_LOCKS}, std::uint64_t{FUSE_FLOCK_LOCKS},
        std::uint64_t{FUSE_NO_OPEN_SUPPORT}, std::uint64_t{FUSE_NO_OPENDIR_SUPPORT},
        std::uint64_t{FUSE_HANDLE_KILLPRIV}, std::uint64_t{FUSE_WRITEBACK_CACHE},
        std::uint64_t{FUSE_EXPLICIT_INVAL_DATA}, std::uint64_t{1} << 35 /* HAS_EXPIRE_ONLY */,
        std::uint64_t{1} << 39 /* HAS_RESEND */, std::uint64_t{1} << 42 /* REQUEST_TIMEOUT */,
        std::uint64_t{FUSE_SUBMOUNTS}, std::uint64_t{FUSE_MAP_ALIGNMENT},
        std::uint64_t{FUSE_EXPORT_SUPPORT}, wire::kNoExportSupport,
        std::uint64_t{1} << 32 /* SECURITY_CTX */, std::uint64_t{1} << 37 /* PASSTHROUGH */,
        std::uint64_t{1} << 40 /* ALLOW_IDMAP */, std::uint64_t{1} << 41 /* OVER_IO_URING */}) {
    EXPECT_EQ(flags & unwanted, 0U) << std::hex << unwanted;
  }
}

TEST_F(Handshake, ThePolicyAddsFlags) {
  HandshakeOptions options;
  options.extra_flags = FUSE_WRITEBACK_CACHE | FUSE_SUBMOUNTS;
  kernel_.send(init(7, 45, FUSE_WRITEBACK_CACHE | FUSE_INIT_EXT));
  const auto negotiated = shake_hands(options);
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->flags, std::uint64_t{FUSE_WRITEBACK_CACHE} | FUSE_INIT_EXT)
      << "SUBMOUNTS was not offered";
}

TEST_F(Handshake, TheStackDepthGoesWithPassthrough) {
  HandshakeOptions options;
  options.max_stack_depth = 2;
  for (const std::uint64_t wanted : {std::uint64_t{0}, std::uint64_t{1} << 37}) {
    options.extra_flags = wanted;
    const std::uint64_t unique = kernel_.send(init(7, 45, kEveryFlag, kEveryFlag));
    const auto negotiated = shake_hands(options);
    ASSERT_TRUE(negotiated);
    EXPECT_EQ(negotiated->flags & wire::kPassthrough, wanted);
    const auto out = kernel_.wait(unique).as<fuse_init_out>();
    std::uint32_t depth = 0;
    std::memcpy(&depth, reinterpret_cast<const std::byte*>(&out) + 36, sizeof depth);
    EXPECT_EQ(depth, wanted != 0 ? 2U : 0U);
  }
}

TEST_F(Handshake, SecondFlagsCountOnlyWithTheirMark) {
  const std::uint64_t unique = kernel_.send(init(7, 36, FUSE_ASYNC_READ, kEveryFlag));
  const auto negotiated = shake_hands();
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->flags, std::uint64_t{FUSE_ASYNC_READ});
  EXPECT_EQ(kernel_.wait(unique).as<fuse_init_out>().flags2, 0U);
}

TEST_F(Handshake, TheShorterRequestBefore736) {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 31;
  in.max_readahead = 65536;
  in.flags = kEveryFlag & ~std::uint32_t{FUSE_INIT_EXT};
  const auto short_in = std::as_bytes(std::span(&in, 1)).first(offsetof(fuse_init_in, flags2));
  const std::uint64_t unique = kernel_.send(Message(FUSE_INIT, 0).bytes(short_in));
  ASSERT_TRUE(shake_hands());
  const auto out = kernel_.wait(unique).as<fuse_init_out>();
  EXPECT_EQ(out.max_readahead, 65536U);
  EXPECT_EQ(out.flags2, 0U);
}

TEST_F(Handshake, TheWriteSizeIsOurs) {
  HandshakeOptions options;
  options.max_write_bytes = 65536;
  const std::uint64_t unique = kernel_.send(init(7, 45, kEveryFlag));
  const auto negotiated = shake_hands(options);
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->max_write_bytes, 65536U);
  const auto out = kernel_.wait(unique).as<fuse_init_out>();
  EXPECT_EQ(out.max_write, 65536U);
  EXPECT_EQ(out.max_pages, 16U);
}

TEST_F(Handshake, LargerRequestsAreOneNumberOfPages) {
  HandshakeOptions options;
  options.max_write_bytes = 65535U * 4096;
  const std::uint64_t unique = kernel_.send(init(7, 45, kEveryFlag));
  ASSERT_TRUE(shake_hands(options));
  const auto out = kernel_.wait(unique).as<fuse_init_out>();
  EXPECT_EQ(out.max_write, 65535U * 4096);
  EXPECT_EQ(out.max_pages, 65535U);
}

// Of more than is offered (128K here) nothing comes, so that it would be wrong to speak of it.
TEST_F(Handshake, ReadAheadIsAsFarAsIsWantedAndOffered) {
  for (const auto& [wanted, agreed] :
       {std::pair{65536U, 65536U}, {0U, 0U}, {131072U, 131072U}, {1U << 20, 131072U}}) {
    HandshakeOptions options;
    options.max_readahead_bytes = wanted;
    const std::uint64_t unique = kernel_.send(init(7, 45, kEveryFlag));
    const auto negotiated = shake_hands(options);
    ASSERT_TRUE(negotiated);
    EXPECT_EQ(negotiated->max_readahead_bytes, agreed);
    EXPECT_EQ(kernel_.wait(unique).as<fuse_init_out>().max_readahead, agreed);
  }
}

TEST_F(Handshake, AnOldKernelIsToldSo) {
  for (const auto& [major, minor] : {std::pair{7U, 30U}, {7U, 0U}, {6U, 45U}, {0U, 0U}}) {
    const std::uint64_t unique = kernel_.send(init(major, minor, kEveryFlag));
    const auto negotiated = shake_hands();
    ASSERT_FALSE(negotiated) << major << "." << minor;
    EXPECT_EQ(negotiated.error().value(), EPROTO);
    EXPECT_EQ(kernel_.wait(unique).error(), EPROTO);
  }
}

TEST_F(Handshake, ANewerMajorIsNegotiatedDown) {
  const std::uint64_t first = kernel_.send(init(8, 3, kEveryFlag, kEveryFlag));
  const std::uint64_t second = kernel_.send(init(7, 45, kEveryFlag));
  const auto negotiated = shake_hands();
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->kernel_minor, 45U);
  const Answer ours = kernel_.wait(first);
  EXPECT_EQ(ours.error(), 0);
  EXPECT_EQ(ours.as<fuse_init_out>().major, 7U);
  EXPECT_EQ(ours.as<fuse_init_out>().flags, 0U);
  EXPECT_NE(kernel_.wait(second).as<fuse_init_out>().flags, 0U);
}

TEST_F(Handshake, ANewerMajorThatDoesNotComeBackTimesOut) {
  HandshakeOptions options;
  options.timeout_ms = 20;
  kernel_.send(init(8, 0, kEveryFlag));
  const auto negotiated = shake_hands(options);
  ASSERT_FALSE(negotiated);
  EXPECT_EQ(negotiated.error().value(), ETIMEDOUT);
}

TEST_F(Handshake, NoRequestAtAll) {
  HandshakeOptions options;
  options.timeout_ms = 20;
  const auto negotiated = shake_hands(options);
  ASSERT_FALSE(negotiated);
  EXPECT_EQ(negotiated.error().value(), ETIMEDOUT);
}

TEST_F(Handshake, AnotherRequestFirst) {
  kernel_.send(Message(FUSE_LOOKUP).name("x"));
  const auto negotiated = shake_hands();
  ASSERT_FALSE(negotiated);
  EXPECT_EQ(negotiated.error().value(), EPROTO);
  kernel_.collect();
  EXPECT_TRUE(kernel_.waiting().empty());
}

TEST_F(Handshake, RequestsThatEndTooSoon) {
  kernel_.send_bytes(std::vector<std::byte>(20));
  EXPECT_EQ(shake_hands().error().value(), EPROTO);
  // Without arguments it is of version 0.0.
  const std::uint64_t unique = kernel_.send(Message(FUSE_INIT, 0));
  EXPECT_EQ(shake_hands().error().value(), EPROTO);
  EXPECT_EQ(kernel_.wait(unique).error(), EPROTO);
}

TEST_F(Handshake, LongerRequestsThanWeKnow) {
  const std::uint64_t unique = kernel_.send(init(7, 99, kEveryFlag).zeros(200));
  ASSERT_TRUE(shake_hands());
  EXPECT_EQ(kernel_.wait(unique).error(), 0);
}

TEST_F(Handshake, TheOtherEndIsGone) {
  kernel_.hang_up();
  EXPECT_FALSE(shake_hands());
}

}  // namespace
}  // namespace ouro::fs
