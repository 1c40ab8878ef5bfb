#include "passthrough/transfer_op.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/transfer_fixture.hpp"

namespace ouro::passthrough {
namespace {

using Access = TransferOp::Access;
using Sync = TransferOp::Sync;

// --- what is asked of the kernel ---

TEST_F(TransferOpTest, ReadAsksForTheWholeBuffer) {
  fill("0123456789abcdef");
  read(3);
  EXPECT_EQ(op_.opcode(), IORING_OP_READ);
  const io_uring_sqe sqe = executor_.sqe(0);
  EXPECT_EQ(sqe.opcode, IORING_OP_READ);
  EXPECT_EQ(sqe.fd, file_->buffered_fd());
  EXPECT_EQ(sqe.off, 3U);
  EXPECT_EQ(sqe.len, 10U);
  EXPECT_EQ(sqe.addr, reinterpret_cast<std::uint64_t>(buffer_.data()));
  executor_.run(0);
  EXPECT_EQ(results_.one(), 10);
  EXPECT_EQ(buffer_, "3456789abc");
  EXPECT_EQ(executor_.submits(), 1U) << "a full read needs no second look";
}

TEST_F(TransferOpTest, WriteGivesTheWholeBuffer) {
  const std::string data = "hello";
  const Credentials credentials = Credentials::without_fsetid();
  op_.start_write(executor_, file_, Access::kBuffered, bytes_of(data), 2, 0, &credentials);
  EXPECT_EQ(op_.opcode(), IORING_OP_WRITE);
  EXPECT_EQ(op_.credentials, &credentials);
  const io_uring_sqe sqe = executor_.sqe(0);
  EXPECT_EQ(sqe.opcode, IORING_OP_WRITE);
  EXPECT_EQ(sqe.off, 2U);
  EXPECT_EQ(sqe.len, 5U);
  EXPECT_EQ(sqe.rw_flags, 0);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 5);
  EXPECT_EQ(op_.credentials, nullptr) << "nothing of one transfer stays for the next";
  EXPECT_EQ(content(), std::string("\0\0hello", 7));
}

TEST_F(TransferOpTest, BeginsInTheThreadOrInAWorkerAsTheFileSays) {
  for (const auto kind : {FileSystemKind::kLocal, FileSystemKind::kFuse}) {
    file_ = std::make_shared<FileHandle>(
        std::make_shared<const Inode>(Inode{.key = {}, .type = S_IFREG, .path_fd = {}}),
        loop::UniqueFd(::open((dir_ / "file").c_str(), O_RDWR | O_CLOEXEC)), loop::UniqueFd(),
        kind);
    const unsigned flags = kind == FileSystemKind::kFuse ? IOSQE_ASYNC : 0;
    read(0);
    EXPECT_EQ(executor_.sqe(0).flags, flags);
    executor_.run(0);
    write("data", 0);
    EXPECT_EQ(executor_.sqe(0).flags, flags);
    executor_.run(0);
    op_.start_sync(executor_, file_, Sync::kAll);
    EXPECT_EQ(executor_.sqe(0).flags, flags);
    executor_.run(0);
  }
}

TEST_F(TransferOpTest, SyncsAreToldApart) {
  op_.start_sync(executor_, file_, Sync::kAll);
  EXPECT_EQ(op_.opcode(), IORING_OP_FSYNC);
  EXPECT_EQ(executor_.sqe(0).fsync_flags, 0U);
  executor_.run(0);
  op_.start_sync(executor_, file_, Sync::kDataOnly);
  EXPECT_EQ(executor_.sqe(0).fsync_flags, unsigned{IORING_FSYNC_DATASYNC});
  executor_.run(0);
  EXPECT_EQ(results_.all, (std::vector<loop::KernelResult>{0, 0}));
}

// --- short transfers ---

TEST_F(TransferOpTest, ShortReadsAreContinuedUntilTheEnd) {
  fill("0123456789abc");
  read(5);
  executor_.run_part(0, 3);
  EXPECT_TRUE(results_.all.empty());
  EXPECT_EQ(executor_.sqe(0).off, 8U);
  EXPECT_EQ(executor_.sqe(0).len, 7U);
  executor_.run(0);  // 89abc, and then there is no more
  EXPECT_TRUE(results_.all.empty());
  executor_.run(0);
  EXPECT_EQ(results_.one(), 8);
  EXPECT_EQ(buffer_, "56789abc..");
}

TEST_F(TransferOpTest, AReadAtTheEndIsEmpty) {
  fill("0123");
  read(4);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 0);
}

TEST_F(TransferOpTest, ShortWritesAreContinued) {
  const std::string data = "0123456789";
  write(data, 1);
  for (const std::uint32_t part : {1U, 4U, 2U}) executor_.run_part(0, part);
  EXPECT_TRUE(results_.all.empty());
  EXPECT_EQ(executor_.sqe(0).off, 8U);
  EXPECT_EQ(executor_.sqe(0).len, 3U);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 10);
  EXPECT_EQ(content(), std::string("\0", 1) + data);
}

TEST_F(TransferOpTest, AWriteThatMovesNothingEnds) {
  const std::string data = "0123456789";
  write(data, 0);
  executor_.complete(0, 4);
  executor_.complete(0, 0);
  EXPECT_EQ(results_.one(), 4);
}

TEST_F(TransferOpTest, EmptyTransfersAreAskedOnce) {
  buffer_.clear();
  read(0);
  executor_.run(0);
  write("", 0);
  executor_.run(0);
  EXPECT_EQ(results_.all, (std::vector<loop::KernelResult>{0, 0}));
}

// --- errors ---

TEST_F(TransferOpTest, ErrorsArePassedOn) {
  for (const int error : {EIO, ENOSPC, EBADF, EFBIG}) {
    results_.all.clear();
    write("x", 0);
    executor_.complete(0, -error);
    EXPECT_EQ(results_.one(), -error);
  }
  results_.all.clear();
  op_.start_sync(executor_, file_, Sync::kAll);
  executor_.complete(0, -EIO);
  EXPECT_EQ(results_.one(), -EIO);
}

TEST_F(TransferOpTest, AnErrorAfterAPartOfAWriteTellsThePart) {
  write("0123456789", 0);
  executor_.complete(0, 6);
  executor_.complete(0, -ENOSPC);
  EXPECT_EQ(results_.one(), 6);
}

TEST_F(TransferOpTest, AnErrorAfterAPartOfAWriteBackIsTheError) {
  op_.start_write(executor_, file_, Access::kBuffered, bytes_of("0123456789"), 0, 0, nullptr,
                  TransferOp::CutShort::kTellsError);
  executor_.complete(0, 6);
  executor_.complete(0, -ENOSPC);
  EXPECT_EQ(results_.one(), -ENOSPC);
}

TEST_F(TransferOpTest, AnErrorAfterAPartOfABufferedReadIsTheError) {
  // A short answer would be the end of the file to the client's page cache.
  read(0);
  executor_.complete(0, 6);
  executor_.complete(0, -EIO);
  EXPECT_EQ(results_.one(), -EIO);
}

TEST_F(TransferOpTest, EinvalAfterAPartOfADirectReadTellsThePart) {
  read(0, Access::kDirect);
  executor_.complete(0, 5);  // the end of the file, where the rest is not aligned
  executor_.complete(0, -EINVAL);
  EXPECT_EQ(results_.one(), 5);
  results_.all.clear();
  read(3, Access::kDirect);
  executor_.complete(0, -EINVAL);
  EXPECT_EQ(results_.one(), -EINVAL);
}

TEST_F(TransferOpTest, EintrIsRepeated) {
  fill("0123456789");
  read(0);
  executor_.complete(0, -EINTR);
  executor_.complete(0, -EINTR);
  executor_.run_part(0, 4);
  executor_.complete(0, -EINTR);
  EXPECT_EQ(executor_.sqe(0).off, 4U);
  EXPECT_TRUE(results_.all.empty());
  executor_.run(0);
  EXPECT_EQ(results_.one(), 10);
  EXPECT_EQ(buffer_, "0123456789");
  results_.all.clear();
  op_.start_sync(executor_, file_, Sync::kAll);
  executor_.complete(0, -EINTR);
  executor_.run(0);
  EXPECT_EQ(results_.one(), 0);
}

TEST_F(TransferOpTest, WhatTheRingRefusesIsCalled) {
  for (const int refusal : {EAGAIN, ECANCELED}) {
    results_.all.clear();
    fill("");
    write("0123456789", 0);
    executor_.run_part(0, 3);
    executor_.complete(0, -refusal);
    EXPECT_EQ(results_.one(), 10) << refusal;
    EXPECT_EQ(content(), "0123456789") << refusal;
    results_.all.clear();
    read(0);
    executor_.complete(0, -refusal);
    EXPECT_EQ(results_.one(), 10) << refusal;
    results_.all.clear();
    op_.start_sync(executor_, file_, Sync::kDataOnly);
    executor_.complete(0, -refusal);
    EXPECT_EQ(results_.one(), 0) << refusal;
  }
  EXPECT_EQ(executor_.pending(), 0U);
}

TEST_F(TransferOpTest, WhatIsCalledRunsUnderItsCredentials) {
  OURO_NEEDS_ROOT();
  const std::string data = "x";
  const Credentials credentials = Credentials::without_fsetid();
  for (const bool kills : {false, true}) {
    ASSERT_EQ(::chmod((dir_ / "file").c_str(), 06777), 0);
    op_.start_write(executor_, file_, Access::kBuffered, bytes_of(data), 0, 0,
                    kills ? &credentials : nullptr);
    executor_.complete(0, -EAGAIN);
    EXPECT_EQ(mode_of(dir_ / "file"), kills ? 0777U : 06777U);
  }
  EXPECT_EQ(results_.all, (std::vector<loop::KernelResult>{1, 1}));
}

TEST_F(TransferOpTest, EagainOfTheCallItselfIsTheAnswer) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const loop::UniqueFd writer(ends[1]);
  file_ = wrap(loop::UniqueFd(ends[0]));
  op_.start_read(executor_, file_, Access::kBuffered, bytes_of(buffer_), 0);
  executor_.complete(0, -EAGAIN);
  EXPECT_EQ(results_.one(), -ESPIPE);  // pread() of a pipe: the call was made, once
  EXPECT_EQ(executor_.pending(), 0U);
}

// --- descriptors ---

TEST_F(TransferOpTest, DirectTransfersUseTheDirectDescriptor) {
  fill(std::string(8192, 'x'));
  alignas(4096) static std::array<std::byte, 4096> page;
  op_.start_read(executor_, file_, Access::kDirect, page, 4096);
  EXPECT_EQ(executor_.sqe(0).fd, file_->direct_fd().value());
  EXPECT_NE(executor_.sqe(0).fd, file_->buffered_fd());
  executor_.run(0);
  EXPECT_EQ(results_.one(), 4096);
  EXPECT_EQ(page[4095], std::byte{'x'});
  results_.all.clear();
  op_.start_read(executor_, file_, Access::kBuffered, page, 1);
  EXPECT_EQ(executor_.sqe(0).fd, file_->buffered_fd());
  executor_.run(0);
  op_.start_sync(executor_, file_, Sync::kAll);
  EXPECT_EQ(executor_.sqe(0).fd, file_->buffered_fd());
  executor_.run(0);
}

TEST_F(TransferOpTest, ThePageCacheServesWhereThereIsNoDirectIo) {
  file_ = wrap(loop::UniqueFd(::open("/proc/self/comm", O_RDONLY | O_CLOEXEC)));
  read(0, Access::kDirect);
  EXPECT_EQ(executor_.sqe(0).fd, file_->buffered_fd());
  executor_.run_part(0, 3);
  executor_.complete(0, 0);
  EXPECT_EQ(results_.one(), 3);
}

TEST_F(TransferOpTest, TheFileStaysOpenUntilTheEndAndNoLonger) {
  const std::weak_ptr<FileHandle> watched = file_;
  read(0);
  file_.reset();
  ASSERT_FALSE(watched.expired());
  executor_.run(0);
  EXPECT_EQ(results_.one(), 0);
  EXPECT_TRUE(watched.expired());
}

TEST_F(TransferOpTest, AListenerMayStartTheNextTransfer) {
  struct Again final : TransferOp::Listener {
    void transfer_done(loop::KernelResult result) override {
      total += result;
      if (result <= 0) return;
      op.start_read(executor, file, Access::kBuffered, bytes_of(buffer), total);
    }
    Again(AsyncExecutor& async, std::shared_ptr<FileHandle> handle)
        : executor(async), file(std::move(handle)) {}
    AsyncExecutor& executor;
    std::shared_ptr<FileHandle> file;
    std::string buffer = std::string(4, '.');
    std::int64_t total = 0;
    TransferOp op{*this};
  };
  fill("0123456789ab");
  Again again(executor_, file_);
  again.op.start_read(executor_, file_, Access::kBuffered, bytes_of(again.buffer), 0);
  while (executor_.pending() > 0) executor_.run(0);
  EXPECT_EQ(again.total, 12);
  EXPECT_EQ(again.buffer, "89ab");
}

// --- many at once ---

// Ends every pending transfer, in any order, cut anywhere and with interruptions between.
void run_shuffled(ScriptedAsyncExecutor& executor, std::minstd_rand& random) {
  while (executor.pending() > 0) {
    const std::size_t i = random() % executor.pending();
    const std::uint32_t left = executor.sqe(i).len;
    switch (random() % 5) {
      case 0:
        executor.complete(i, -EINTR);
        break;
      case 1:
        executor.complete(i, -EAGAIN);
        break;
      case 2:
        executor.run(i);
        break;
      default:
        executor.run_part(i, 1 + static_cast<std::uint32_t>(random() % left));
    }
  }
}

struct Piece {
  // The result, which is taken.
  loop::KernelResult take() {
    const loop::KernelResult result = results.one();
    results.all.clear();
    return result;
  }
  Results results;
  TransferOp op{results};
  std::string data;
};

TEST_F(TransferOpTest, ReorderedPiecesFindTheirPlaces) {
  constexpr std::int64_t kBytes = 997;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    std::array<Piece, 16> pieces;
    fill("");
    std::string expected;
    for (Piece& piece : pieces) {
      piece.data.assign(kBytes, static_cast<char>('a' + (&piece - pieces.data())));
      piece.op.start_write(executor_, file_, Access::kBuffered, bytes_of(piece.data),
                           static_cast<std::int64_t>(expected.size()), 0, nullptr);
      expected += piece.data;
    }
    run_shuffled(executor_, random);
    EXPECT_EQ(content(), expected);
    for (Piece& piece : pieces) {
      EXPECT_EQ(piece.take(), kBytes);
      piece.data.assign(kBytes, '.');
      piece.op.start_read(executor_, file_, Access::kBuffered, bytes_of(piece.data),
                          (&piece - pieces.data()) * kBytes);
    }
    run_shuffled(executor_, random);
    std::string read_back;
    for (Piece& piece : pieces) {
      EXPECT_EQ(piece.take(), kBytes);
      read_back += piece.data;
    }
    EXPECT_EQ(read_back, expected);
  }
}

}  // namespace
}  // namespace ouro::passthrough
