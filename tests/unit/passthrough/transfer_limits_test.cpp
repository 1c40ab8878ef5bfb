// Transfers at the edges: abandoned ones, appends, and the smallest and largest offsets.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <limits>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/transfer_fixture.hpp"

namespace ouro::passthrough {
namespace {

// --- abandoning ---

TEST_F(TransferOpTest, AnAbandonedTransferIsCancelled) {
  read(0);
  EXPECT_TRUE(executor_.cancelled().empty());
  op_.abandon();
  ASSERT_EQ(executor_.cancelled().size(), 1U);
  EXPECT_EQ(executor_.cancelled()[0], &op_);
  EXPECT_TRUE(results_.all.empty()) << "the end still comes by its completion";
  executor_.complete(0, -ECANCELED);
  EXPECT_EQ(results_.one(), -EINTR);
}

TEST_F(TransferOpTest, AbandonedTransfersAreNotRepeated) {
  for (const int error : {EINTR, EAGAIN, ECANCELED}) {
    results_.all.clear();
    write("0123456789", 0);
    op_.abandon();
    executor_.complete(0, -error);
    EXPECT_EQ(results_.one(), -EINTR) << error;
    EXPECT_EQ(executor_.pending(), 0U);
  }
  EXPECT_EQ(content(), "");
}

TEST_F(TransferOpTest, AnAbandonedTransferThatWasQuickerKeepsItsResult) {
  fill("0123456789");
  read(0);
  op_.abandon();
  executor_.run(0);
  EXPECT_EQ(results_.one(), 10);
  results_.all.clear();
  write("x", 0);
  op_.abandon();
  executor_.complete(0, -ENOSPC);
  EXPECT_EQ(results_.one(), -ENOSPC);
}

TEST_F(TransferOpTest, AnAbandonedShortTransferIsNotContinued) {
  write("0123456789", 0);
  op_.abandon();
  executor_.run_part(0, 4);
  EXPECT_EQ(results_.one(), 4) << "what is in the file is told";
  results_.all.clear();
  read(0);
  op_.abandon();
  executor_.run_part(0, 2);
  EXPECT_EQ(results_.one(), -EINTR) << "a part of a page is no page";
}

TEST_F(TransferOpTest, AnAbandonedEndOfFileIsTheEnd) {
  fill("0123");
  read(0);
  executor_.run(0);
  op_.abandon();
  executor_.run(0);
  EXPECT_EQ(results_.one(), 4);
}

TEST_F(TransferOpTest, AbandoningAnIdleOpDoesNothing) {
  op_.abandon();
  EXPECT_TRUE(executor_.cancelled().empty());
  fill("0123456789");
  read(0);
  executor_.complete(0, -EINTR);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 10);
}

TEST_F(TransferOpTest, AbandonmentEndsWithItsTransfer) {
  read(0);
  op_.abandon();
  executor_.complete(0, -ECANCELED);
  fill("0123456789");
  read(0);
  executor_.complete(0, -EINTR);
  executor_.run(0);
  EXPECT_EQ(results_.all, (std::vector<loop::KernelResult>{-EINTR, 10}));
}

// --- appending ---

TEST_F(TransferOpTest, AppendsIgnoreTheOffsetAndGoToTheEnd) {
  fill("0123");
  for (const std::int64_t offset : {std::int64_t{0}, std::int64_t{2}, std::int64_t{-1},
                                    std::numeric_limits<std::int64_t>::max()}) {
    write("ab", offset, RWF_APPEND);
    EXPECT_EQ(executor_.sqe(0).rw_flags, RWF_APPEND);
    EXPECT_EQ(executor_.sqe(0).off, 0U);
    executor_.run(0);
  }
  EXPECT_EQ(results_.all, (std::vector<loop::KernelResult>{2, 2, 2, 2}));
  EXPECT_EQ(content(), "0123abababab");
}

TEST_F(TransferOpTest, AppendsAreContinuedAtTheEndAsItIsThen) {
  write("abcdef", 0, RWF_APPEND);
  executor_.run_part(0, 2);
  write_file(dir_ / "file", "abXYZ");  // somebody else was there
  executor_.run(0);
  EXPECT_EQ(results_.one(), 6);
  EXPECT_EQ(content(), "abXYZcdef");
}

// --- offsets ---

TEST_F(TransferOpTest, NegativeOffsetsNeverMeanTheFilePosition) {
  fill("0123456789");
  for (const std::int64_t offset : {std::int64_t{-1}, std::int64_t{-2}, std::int64_t{-4096},
                                    std::numeric_limits<std::int64_t>::min()}) {
    results_.all.clear();
    read(offset);
    EXPECT_NE(executor_.sqe(0).off, std::numeric_limits<std::uint64_t>::max());
    executor_.run(0);
    EXPECT_EQ(results_.one(), -EINVAL) << offset;
    results_.all.clear();
    write("x", offset);
    EXPECT_NE(executor_.sqe(0).off, std::numeric_limits<std::uint64_t>::max());
    executor_.run(0);
    EXPECT_EQ(results_.one(), -EINVAL) << offset;
  }
  EXPECT_EQ(content(), "0123456789");
}

TEST_F(TransferOpTest, TheLastByteOfEightEib) {
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  file_ = wrap(loop::UniqueFd(::memfd_create("large", MFD_CLOEXEC)));
  const std::string data = "last page";
  const auto size = static_cast<std::int64_t>(data.size());
  write(data, kEnd - size);
  executor_.run(0);
  EXPECT_EQ(results_.one(), size);
  results_.all.clear();
  // The client reads whole pages, and this one ends behind the largest offset.
  buffer_.assign(4096, '.');
  read(kEnd - 4095);
  EXPECT_EQ(executor_.sqe(0).len, 4095U);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 4095);
  EXPECT_EQ(buffer_.substr(4095 - data.size()), data + ".");
  results_.all.clear();
  read(kEnd);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 0);
  results_.all.clear();
  write(data, kEnd - 3);
  executor_.run(0);
  EXPECT_EQ(results_.one(), -EINVAL) << "as pwrite() says";
}

}  // namespace
}  // namespace ouro::passthrough
