#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

constexpr std::uint64_t kLastOffset = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kBadHandle = 4711;

// Bytes that tell where they belong.
std::string pattern(std::size_t bytes) {
  std::string data(bytes, 0);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>('a' + (i + i / 4096) % 26);
  return data;
}

class DataTest : public ServedTree {
 protected:
  [[nodiscard]] Answer read(std::uint64_t handle, std::uint64_t offset, std::uint32_t bytes,
                            std::uint32_t flags = 0) {
    return call(requests::read(handle, offset, bytes, flags));
  }
  // The bytes that were written, or the negative errno.
  [[nodiscard]] int write(std::uint64_t handle, std::uint64_t offset, std::string_view data,
                          std::uint32_t flags = 0, std::uint32_t write_flags = 0) {
    const Answer answer = call(requests::write(handle, offset, data, flags, write_flags));
    if (answer.error() != 0) return -answer.error();
    EXPECT_EQ(answer.as<fuse_write_out>().padding, 0U);
    return static_cast<int>(answer.as<fuse_write_out>().size);
  }
};

// --- read ----------------------------------------------------------------------------------------

TEST_P(DataTest, Read) {
  backing_.put_file("file", "0123456789");
  const std::uint64_t handle = open("file", O_RDONLY);
  EXPECT_EQ(read(handle, 0, 10).text(), "0123456789");
  EXPECT_EQ(read(handle, 3, 4).text(), "3456");
  EXPECT_EQ(read(handle, 8, 4096).text(), "89") << "up to the end of the file";
  EXPECT_EQ(read(handle, 10, 4096).text(), "");
  EXPECT_EQ(read(handle, 1'000'000, 4096).text(), "");
  EXPECT_EQ(read(handle, 0, 0).text(), "");
}

TEST_P(DataTest, ReadOfALargePiece) {
  const std::string data = pattern(300'000);
  backing_.put_file("file", data);
  const std::uint64_t handle = open("file", O_RDONLY);
  EXPECT_TRUE(read(handle, 12'345, 128 * 1024).text() == data.substr(12'345, 128 * 1024));
  // More than was agreed on: as much as fits.
  EXPECT_TRUE(read(handle, 0, 0xffffffff).text() == data.substr(0, 128 * 1024));
}

TEST_P(DataTest, ReadOfAHole) {
  backing_.put_file("file", "x");
  std::filesystem::resize_file(path("file"), 100'000);
  const std::uint64_t handle = open("file", O_RDONLY);
  EXPECT_TRUE(read(handle, 50'000, 10'000).text() == std::string(10'000, 0));
}

TEST_P(DataTest, ReadErrors) {
  backing_.put_file("file", "content");
  EXPECT_EQ(read(kBadHandle, 0, 10).error(), EBADF);
  EXPECT_EQ(read(open("file", O_WRONLY), 0, 10).error(), EBADF);
  const std::uint64_t handle = open("file", O_RDONLY);
  EXPECT_EQ(read(handle, kLastOffset + 1, 10).error(), EINVAL);
  EXPECT_EQ(read(handle, std::numeric_limits<std::uint64_t>::max(), 10).error(), EINVAL);
  EXPECT_EQ(read(handle, kLastOffset, 10).text(), "");
  EXPECT_EQ(read(handle, kLastOffset - 5, 4096).text(), "");
}

TEST_P(DataTest, ReadOfADirectHandle) {
  const std::string data = pattern(20'000);
  backing_.put_file("file", data);
  const Answer opened = call(requests::open(look_up("file"), O_RDONLY | O_DIRECT));
  if (opened.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  const std::uint64_t handle = opened.as<fuse_open_out>().fh;
  EXPECT_TRUE(read(handle, 4096, 8192, O_DIRECT).text() == data.substr(4096, 8192));
  EXPECT_TRUE(read(handle, 16'384, 8192, O_DIRECT).text() == data.substr(16'384));
  // What the client's page cache asks for is of any alignment, by the same handle.
  EXPECT_TRUE(read(handle, 1, 99).text() == data.substr(1, 99));
}

TEST_P(DataTest, ManyAtOnce) {
  const std::string data = pattern(64 * 1024);
  backing_.put_file("file", data);
  const std::uint64_t handle = open("file", O_RDWR);
  std::vector<std::uint64_t> reads;
  for (std::uint32_t i = 0; i < 500; ++i) {
    reads.push_back(kernel().send(requests::read(handle, i * 100, 1000)));
  }
  for (std::uint32_t i = 0; i < 500; ++i) {
    ASSERT_TRUE(kernel().wait(reads[i]).text() == data.substr(i * 100, 1000)) << i;
  }
}

// --- write ---------------------------------------------------------------------------------------

TEST_P(DataTest, Write) {
  backing_.put_file("file", "0123456789");
  const std::uint64_t handle = open("file", O_RDWR);
  EXPECT_EQ(write(handle, 3, "abc"), 3);
  EXPECT_EQ(write(handle, 12, "xyz"), 3);
  EXPECT_EQ(backing_.content("file"), std::string("012abc6789\0\0xyz", 15));
  EXPECT_EQ(write(handle, 0, ""), 0);
}

TEST_P(DataTest, WriteOfTheLargestPiece) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  const std::string data = pattern(128 * 1024);
  EXPECT_EQ(write(handle, 5, data), 128 * 1024);
  EXPECT_TRUE(backing_.content("file") == std::string(5, 0) + data);
}

TEST_P(DataTest, AnAppendGoesToTheEnd) {
  backing_.put_file("file", "0123456789");
  const std::uint64_t handle = open("file", O_WRONLY | O_APPEND);
  EXPECT_EQ(write(handle, 3, "abc", O_WRONLY | O_APPEND), 3);
  EXPECT_EQ(backing_.content("file"), "0123456789abc");
}

// A write through its cache is one that has to remove set-id bits.
TEST_P(DataTest, AnAppendGoesWhereAClientThatCollectsWritesHasTheEnd) {
  connection_.negotiated.flags |= FUSE_WRITEBACK_CACHE;
  backing_.put_file("file", "0123");
  const std::uint64_t handle = open("file", O_WRONLY | O_APPEND);
  EXPECT_EQ(write(handle, 10, "abc", O_WRONLY | O_APPEND), 3);
  EXPECT_EQ(write(handle, 4, "456789", O_WRONLY | O_APPEND, FUSE_WRITE_CACHE), 6);
  EXPECT_EQ(backing_.content("file"), "0123456789abc");
}

TEST_P(DataTest, WhatTheClientWritesBackIsPositional) {
  backing_.put_file("file", "0123456789");
  // The handle, and the flags that travel along, are those of an appending, direct writer.
  const std::uint32_t flags = O_WRONLY | O_APPEND | O_DIRECT;
  const std::uint64_t handle = open("file", O_WRONLY | O_APPEND);
  EXPECT_EQ(write(handle, 3, "abc", flags, FUSE_WRITE_CACHE), 3);
  EXPECT_EQ(backing_.content("file"), "012abc6789");
}

TEST_P(DataTest, AWriteByADirectHandle) {
  backing_.put_file("file", std::string(8192, 'x'));
  const Answer opened = call(requests::open(look_up("file"), O_RDWR | O_DIRECT));
  if (opened.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  const std::uint64_t handle = opened.as<fuse_open_out>().fh;
  const std::string data = pattern(4096);
  EXPECT_EQ(write(handle, 4096, data, O_RDWR | O_DIRECT), 4096);
  EXPECT_TRUE(backing_.content("file") == std::string(4096, 'x') + data);
}

// The client drops its pages before it knows that a direct write has ended, or has to be told to.
class DirectWriteTest : public DataTest {
 protected:
  // By a handle of open(`flags`), where others have the file open who read it by their pages.
  void write_by(int flags) {
    connection_.negotiated.flags |= wire::kDirectIoAllowMmap;
    backing_.put_file("file", std::string(4096, 'x'));
    static_cast<void>(open("file", O_RDONLY));
    const Answer opened = call(requests::open(look_up("file"), flags));
    if (opened.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
    const auto opened_before = std::chrono::steady_clock::now();
    const std::string data = pattern(4096);
    ASSERT_EQ(write(opened.as<fuse_open_out>().fh, 0, data, O_RDWR | O_DIRECT), 4096);
    while (kernel().notifications().empty() &&
           std::chrono::steady_clock::now() < opened_before + std::chrono::seconds(20)) {
      catch_up();
    }
    ASSERT_EQ(kernel().notifications().size(), 1U);
    EXPECT_EQ(kernel().notifications().front().header.error, FUSE_NOTIFY_INVAL_INODE);
    finish();
  }
  // With Metadata::kAuto the two openings were pooled as well.
  [[nodiscard]] std::uint64_t pooled_writes() const {
    const std::uint64_t openings = GetParam().metadata == Metadata::kAuto ? 2 : 0;
    return serving_->server_counters().pooled - openings;
  }
};

TEST_P(DirectWriteTest, HasDroppedThePagesBeforeTheReply) {
  write_by(O_RDWR | O_DIRECT);
  EXPECT_EQ(pooled_writes(), 1U) << "a worker replies";
}

TEST_P(DirectWriteTest, WhichMayBeOneByPagesIsNotHeldUpByThem) {
  write_by(O_RDWR);
  EXPECT_EQ(pooled_writes(), 0U) << "the reply waits for nothing";
}

TEST_P(DataTest, WriteErrors) {
  backing_.put_file("file", "content");
  EXPECT_EQ(write(kBadHandle, 0, "x"), -EBADF);
  EXPECT_EQ(write(open("file", O_RDONLY), 0, "x"), -EBADF);
  const std::uint64_t handle = open("file", O_RDWR);
  EXPECT_EQ(write(handle, kLastOffset + 1, "x"), -EINVAL);
  EXPECT_EQ(write(handle, std::numeric_limits<std::uint64_t>::max(), "x"), -EINVAL);
  EXPECT_EQ(write(handle, kLastOffset, "x"), -EINVAL) << "as natively";
  EXPECT_EQ(write(handle, kLastOffset - 1, "x"), -EFBIG);
  EXPECT_EQ(backing_.content("file"), "content");
}

TEST_P(DataTest, WriteWhoseSizeIsNotThatOfItsData) {
  backing_.put_file("file", "0123456789");
  fuse_write_in in{};
  in.fh = open("file", O_RDWR);
  for (const std::uint32_t claimed : {6U, 128U * 1024, 0x7fffffffU, 0xffffffffU}) {
    in.size = claimed;
    EXPECT_EQ(error_of(Message(FUSE_WRITE).with(in).text("abcde")), EINVAL) << claimed;
  }
  EXPECT_EQ(backing_.content("file"), "0123456789");
  in.size = 3;  // less than there is: what was said
  EXPECT_EQ(call(Message(FUSE_WRITE).with(in).text("abcde")).as<fuse_write_out>().size, 3U);
  EXPECT_EQ(backing_.content("file"), "abc3456789");
}

TEST_P(DataTest, AWriteRemovesSetIdBitsWhereAsked) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, whose writes keep the bits";
  backing_.put_file("file", "content");
  const std::uint64_t handle = open("file", O_RDWR);
  ASSERT_EQ(::chmod(path("file").c_str(), 06755), 0);
  EXPECT_EQ(write(handle, 0, "C"), 1);
  EXPECT_EQ(attributes_of(path("file")).mode & 07777, 06755U);
  EXPECT_TRUE(dropped_attributes().empty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(write(handle, 0, "C", 0, FUSE_WRITE_KILL_SUIDGID), 1);
    EXPECT_EQ(attributes_of(path("file")).mode & 07777, 0755U);
    EXPECT_EQ(dropped_attributes().size(), 1U) << "the second write clears nothing";
  }
}

TEST_P(DataTest, PagesWrittenBackKeepSetIdBitsWhoeverHasOpenedTheFile) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, whose writes keep the bits";
  backing_.put_file("file", "content");
  const auto opened = call(requests::open(look_up("file"), O_RDWR).from(1000, 1000));
  const std::uint64_t handle = opened.as<fuse_open_out>().fh;
  ASSERT_EQ(::chmod(path("file").c_str(), 06755), 0);
  EXPECT_EQ(write(handle, 0, "C", 0, FUSE_WRITE_CACHE), 1);
  EXPECT_EQ(attributes_of(path("file")).mode & 07777, 06755U);
  EXPECT_EQ(backing_.content("file"), "Content");
}

TEST_P(DataTest, AFullFileSystem) {
  // The errno of the source, whatever way the write takes.
  const std::uint64_t handle = [&] {
    backing_.put_file("file");
    return open("file", O_RDWR);
  }();
  rlimit former{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &former), 0);
  (void)::signal(SIGXFSZ, SIG_IGN);
  const rlimit low{8192, former.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  const int beyond = write(handle, 8192, "x");
  const int part = write(handle, 8000, std::string(1000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &former), 0);
  EXPECT_EQ(beyond, -EFBIG);
  EXPECT_EQ(part, 192) << "a part of a write is told as it is";
}

// --- fsync ---------------------------------------------------------------------------------------

TEST_P(DataTest, Fsync) {
  backing_.put_file("file", "content");
  const std::uint64_t handle = open("file", O_RDWR);
  for (const std::uint32_t flags : {0U, std::uint32_t{FUSE_FSYNC_FDATASYNC}}) {
    const Answer answer = call(requests::fsync(handle, flags));
    EXPECT_EQ(answer.error(), 0);
    EXPECT_TRUE(answer.payload.empty());
  }
  EXPECT_EQ(error_of(requests::fsync(kBadHandle)), EBADF);
}

TEST_P(DataTest, AHandleThatIsReleasedWhileItWorks) {
  backing_.put_file("file", pattern(100'000));
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t handle = open("file", O_RDWR);
    const std::uint64_t read_unique = kernel().send(requests::read(handle, 0, 100'000));
    const std::uint64_t sync = kernel().send(requests::fsync(handle));
    const std::uint64_t released = kernel().send(requests::release(handle));
    EXPECT_EQ(kernel().wait(read_unique).payload.size(), 100'000U);
    EXPECT_EQ(kernel().wait(sync).error(), 0);
    EXPECT_EQ(kernel().wait(released).error(), 0);
  }
  EXPECT_EQ(tree_.open_count(), 0U);
}

OURO_IN_ALL_MODES(DataTest);
OURO_IN_ALL_MODES(DirectWriteTest);

}  // namespace
}  // namespace ouro::fs
