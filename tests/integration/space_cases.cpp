#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr off_t kBlock = 65'536;  // no file system here allocates in larger units

void holes(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(fd.get(), pattern(kBlock, 0), 4 * kBlock));
  EXPECT_TRUE(write_all(fd.get(), pattern(100, 0), 10 * kBlock));
  t.call("fsync", ::fsync(fd.get()));
  for (const off_t at : {off_t{0}, kBlock, 4 * kBlock, 4 * kBlock + 5, 5 * kBlock, 10 * kBlock,
                         10 * kBlock + 99, 10 * kBlock + 100, 11 * kBlock, off_t{-1}}) {
    t.value("data from " + std::to_string(at), ::lseek(fd.get(), at, SEEK_DATA));
    t.value("hole from " + std::to_string(at), ::lseek(fd.get(), at, SEEK_HOLE));
  }
  t.value("position", ::lseek(fd.get(), 0, SEEK_CUR));
  t.value("nonsense", ::lseek(fd.get(), 0, 99));
  t.value("before the start", ::lseek(fd.get(), -1, SEEK_SET));
  t.value("before the end", ::lseek(fd.get(), -10, SEEK_END));
  struct ::stat found {};
  ::fstat(fd.get(), &found);
  EXPECT_LT(found.st_blocks * 512, 4 * kBlock) << "a hole takes space";
  t.content("f");
}

void allocation(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  const auto allocate = [&](const char* what, int mode, off_t offset, off_t length) {
    t.call(what, ::fallocate(fd.get(), mode, offset, length));
    t.stat("f");
  };
  allocate("extend", 0, 0, 2 * kBlock);
  allocate("keep size", FALLOC_FL_KEEP_SIZE, 0, 8 * kBlock);
  EXPECT_TRUE(write_all(fd.get(), pattern(4 * kBlock, 0), 0));
  allocate("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBlock, kBlock);
  allocate("punch odd", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 100);
  allocate("punch without keep", FALLOC_FL_PUNCH_HOLE, 0, kBlock);
  allocate("zero", FALLOC_FL_ZERO_RANGE, 2 * kBlock + 7, kBlock);
  allocate("zero beyond", FALLOC_FL_ZERO_RANGE, 4 * kBlock - 5, kBlock);
  allocate("zero beyond, keep size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 5 * kBlock,
           kBlock);
  t.content("f");
  allocate("negative", 0, -1, 10);
  allocate("empty", 0, 0, 0);
  allocate("too far", 0, off_t{1} << 62, off_t{1} << 62);
  t.call("by a reader", ::fallocate(::open("f", O_RDONLY), 0, 0, 10));
  t.call("posix", ::posix_fallocate(fd.get(), 0, 6 * kBlock) == 0 ? 0 : -1);
  t.stat("f");
}

// KERNEL: fuse_file_fallocate() refuses the modes that move data before any server is asked.
void allocation_refused(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(fd.get(), pattern(4 * kBlock, 0), 0));
  for (const int mode : {FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE}) {
    const int result = ::fallocate(fd.get(), mode, kBlock, kBlock);
    if (t.side() == Transcript::Side::kMount) {
      EXPECT_EQ(result, -1);
      EXPECT_EQ(errno, EOPNOTSUPP);
    } else if (result == 0) {  // undone, for the trees to be the same
      ::ftruncate(fd.get(), 0);
      EXPECT_TRUE(write_all(fd.get(), pattern(4 * kBlock, 0), 0));
    }
  }
  t.content("f");
}

void copies(Transcript& t) {
  const UniqueFd from(::open("from", O_RDWR | O_CREAT, 0644));
  const UniqueFd to(::open("to", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(from.get(), pattern(300'000, 0), 0));
  const auto copy = [&](const char* what, int in, off_t in_offset, int out, off_t out_offset,
                        std::size_t bytes, unsigned flags = 0) {
    t.value(what, ::copy_file_range(in, &in_offset, out, &out_offset, bytes, flags));
    t.stat("to");
  };
  copy("all", from.get(), 0, to.get(), 0, 300'000);
  t.content("to");
  copy("odd", from.get(), 1'001, to.get(), 299'999, 70'003);
  copy("across the end", from.get(), 299'000, to.get(), 0, 5'000);
  copy("beyond the end", from.get(), 400'000, to.get(), 0, 5'000);
  copy("nothing", from.get(), 0, to.get(), 0, 0);
  copy("flags", from.get(), 0, to.get(), 0, 10, 1);
  copy("within", to.get(), 0, to.get(), 200'000, 50'000);
  copy("overlapping", to.get(), 0, to.get(), 100, 50'000);
  copy("into a reader", from.get(), 0, ::open("to", O_RDONLY), 0, 10);
  copy("from a writer", ::open("from", O_WRONLY), 0, to.get(), 0, 10);
  copy("into an appender", from.get(), 0, ::open("to", O_WRONLY | O_APPEND), 0, 10);
  copy("from a directory", ::open(".", O_RDONLY), 0, to.get(), 0, 10);
  ::lseek(from.get(), 5, SEEK_SET);
  t.value("by position", ::copy_file_range(from.get(), nullptr, to.get(), nullptr, 10, 0));
  t.value("position", ::lseek(from.get(), 0, SEEK_CUR));
  t.content("to");
}

// A file that is full of holes stays so when it is copied by SEEK_DATA.
void freshly_written(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(fd.get(), pattern(kBlock, 0), 8 * kBlock));
  // Without an fsync in between: what is not on disk yet is data, too.
  t.value("data", ::lseek(fd.get(), 0, SEEK_DATA));
  t.call("truncate", ::ftruncate(fd.get(), 20 * kBlock));
  t.value("hole", ::lseek(fd.get(), 8 * kBlock, SEEK_HOLE));
  t.value("no more data", ::lseek(fd.get(), 12 * kBlock, SEEK_DATA));
}

}  // namespace

std::vector<Case> space_cases() {
  return {{"holes", holes},
          {"allocation", allocation},
          {"allocation-refused", allocation_refused},
          {"copies", copies},
          {"freshly-written", freshly_written}};
}

}  // namespace ouro::testing
