#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/identity.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr off_t kMiB = off_t{1} << 20;

// Around the sizes where something changes: pages, a request, several of them.
void any_size(Transcript& t) {
  const std::array<off_t, 12> sizes = {1,    7,        4095,          4096,
                                       4097, 65536,    131'073,       kMiB - 1,
                                       kMiB, kMiB + 1, 3 * kMiB + 17, 5 * kMiB + 3};
  for (const off_t size : sizes) {
    for (const off_t offset : {off_t{0}, off_t{1}, off_t{4093}}) {
      const UniqueFd fd(::open("f", O_RDWR | O_CREAT | O_TRUNC, 0644));
      const auto bytes = static_cast<std::size_t>(size);
      EXPECT_TRUE(write_all(fd.get(), pattern(bytes, 0), offset)) << std::strerror(errno);
      const UniqueFd again(::open("f", O_RDONLY));
      const auto read = read_at(again.get(), bytes + 10, offset);
      EXPECT_EQ(read.size(), bytes);
      expect_pattern(read, 0);
      const auto hole = read_at(again.get(), static_cast<std::size_t>(offset), 0);
      EXPECT_TRUE(std::ranges::all_of(hole, [](char c) { return c == 0; }));
    }
  }
  t.stat("f");
  t.content("f");
}

void overwriting(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  constexpr std::size_t kBytes = 700'000;
  std::vector<char> shadow(kBytes);
  std::uint64_t random = 42;
  for (unsigned i = 0; i < 200; ++i) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const std::size_t at = (random >> 33U) % kBytes;
    const std::size_t bytes = std::min<std::size_t>(kBytes - at, 1 + (random >> 20U) % 40'000);
    const auto data = pattern(bytes, at, i);
    EXPECT_TRUE(write_all(fd.get(), data, static_cast<off_t>(at)));
    std::ranges::copy(data, shadow.begin() + static_cast<std::ptrdiff_t>(at));
    if (i % 20 == 0) t.call("fsync", ::fsync(fd.get()));
  }
  const auto read = read_at(fd.get(), kBytes, 0);
  EXPECT_TRUE(std::equal(read.begin(), read.end(), shadow.begin()));
  t.content("f");
}

void vectors(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  char a[] = "aaa";
  char b[] = "bbbbb";
  const iovec out[] = {{a, 3}, {b, 5}, {a, 0}, {a, 2}};
  t.value("writev", ::writev(fd.get(), out, 4));
  t.value("pwritev", ::pwritev(fd.get(), out, 2, 100));
  char c[4]{};
  char d[200]{};
  const iovec in[] = {{c, 4}, {d, sizeof d}};
  t.value("preadv", ::preadv(fd.get(), in, 2, 1));
  EXPECT_EQ(std::string(c, 4), "aabb");
  t.value("nothing", ::pwrite(fd.get(), a, 0, 1000));
  t.value("read nothing", ::pread(fd.get(), a, 0, 0));
  t.value("beyond", ::pread(fd.get(), d, 10, 10'000));
  t.value("across the end", ::pread(fd.get(), d, sizeof d, 90));
  t.value("appended", ::pwritev2(fd.get(), out, 1, 0, RWF_APPEND));
  t.value("synchronous", ::pwritev2(fd.get(), out, 1, 0, RWF_DSYNC));
  t.content("f");
}

void far_offsets(Transcript& t) {
  constexpr off_t kMost = std::numeric_limits<off_t>::max();
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  char byte = 'x';
  for (const off_t at : {kMost, kMost - 1, kMost - 4096, off_t{1} << 44, off_t{1} << 42}) {
    const std::string offset = std::to_string(at);
    t.value("write at " + offset, ::pwrite(fd.get(), &byte, 1, at));
    t.stat("f");
    t.value("read at " + offset, ::pread(fd.get(), &byte, 1, at));
  }
  t.value("negative", ::pread(fd.get(), &byte, 1, -1));
  t.value("end", ::lseek(fd.get(), 0, SEEK_END));
  t.call("shrink", ::ftruncate(fd.get(), 10));
}

// Appends numbered records of an odd length.
int append_records(char writer, int records) {
  const UniqueFd fd(::open("log", O_WRONLY | O_APPEND | O_CREAT, 0644));
  for (int i = 0; i < records; ++i) {
    std::string record = std::string(1, writer) + std::to_string(10'000 + i);
    record.resize(36, writer);
    record += '\n';
    if (::write(fd.get(), record.data(), record.size()) != 37) return 1;
  }
  return 0;
}

void appending(Transcript& t) {
  constexpr int kRecords = 400;
  const pid_t other = ::fork();
  if (other == 0) ::_exit(append_records('b', kRecords));
  EXPECT_EQ(append_records('a', kRecords), 0);
  int status = -1;
  ::waitpid(other, &status, 0);
  EXPECT_EQ(status, 0);
  t.stat("log");
  const std::string all = read_file("log");
  int next[2] = {0, 0};
  for (std::size_t at = 0; at + 37 <= all.size(); at += 37) {
    const std::string record = all.substr(at, 37);
    int& number = next[record[0] - 'a' == 1 ? 1 : 0];
    const std::string head = record.substr(0, 1) + std::to_string(10'000 + number++);
    ASSERT_TRUE(record.starts_with(head) && record[36] == '\n') << "torn: " << record;
  }
  t.note("records", std::to_string(next[0]) + " " + std::to_string(next[1]));
  ::unlink("log");  // whose order is nobody's business
}

void append_mode(Transcript& t) {
  make_file("f", "12345");
  const UniqueFd fd(::open("f", O_RDWR | O_APPEND));
  t.value("pwrite appends", ::pwrite(fd.get(), "abc", 3, 0));
  t.value("position", ::lseek(fd.get(), 1, SEEK_SET));
  t.value("write appends", ::write(fd.get(), "def", 3));
  t.value("position", ::lseek(fd.get(), 0, SEEK_CUR));
  t.call("append off", ::fcntl(fd.get(), F_SETFL, 0));
  t.value("pwrite", ::pwrite(fd.get(), "X", 1, 0));
  t.call("append on", ::fcntl(fd.get(), F_SETFL, O_APPEND));
  t.value("appends again", ::pwrite(fd.get(), "Y", 1, 0));
  t.call("truncate", ::ftruncate(fd.get(), 2));
  t.value("at the new end", ::write(fd.get(), "Z", 1));
  t.content("f");
}

void append_only(Transcript& t) {
  const auto block = pattern(4096, 0);
  make_file("f", {block.data(), block.size()});
  t.call("set flags", set_protection("f", FS_APPEND_FL));
  {
    t.call("write", UniqueFd(::open("f", O_WRONLY)).get());
    t.call("truncate and append", UniqueFd(::open("f", O_WRONLY | O_APPEND | O_TRUNC)).get());
    const UniqueFd direct(::open("f", O_WRONLY | O_APPEND | O_DIRECT));
    t.call("append directly", direct.get());
    const AlignedMemory memory = aligned_memory(4096);
    std::ranges::copy(block, memory.get());
    t.value("write directly", ::write(direct.get(), memory.get(), 4096));
    const UniqueFd log(::open("f", O_WRONLY | O_APPEND | O_CREAT, 0644));
    t.call("append", log.get());
    t.value("write", ::write(log.get(), "one", 3));
    const UniqueFd both(::open("f", O_RDWR | O_APPEND | O_NOATIME));
    t.call("read and append", both.get());
    t.value("pwrite", ::pwrite(both.get(), "two", 3, 0));
    char read[3]{};
    t.value("pread", ::pread(both.get(), read, 3, 8192));
    t.note("read", {read, 3});
    t.value("switch to direct", ::fcntl(both.get(), F_SETFL, O_APPEND | O_DIRECT));
    t.value("pread directly", ::pread(both.get(), memory.get(), 4096, 4096));
    t.call("fsync", ::fsync(log.get()));
    t.call("shrink", ::ftruncate(log.get(), 1));
  }
  t.call("remove", ::unlink("f"));
  t.content("f");
  t.call("set flags", set_protection("f", FS_IMMUTABLE_FL));
  t.call("append to an immutable file", UniqueFd(::open("f", O_WRONLY | O_APPEND)).get());
  t.call("remove", ::unlink("f"));
  t.call("set flags", set_protection("f", 0));
}

void direct(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT | O_DIRECT, 0644));
  t.call("open", fd.get());
  if (!fd) return;
  constexpr std::size_t kBytes = 3 << 20;
  const AlignedMemory memory = aligned_memory(kBytes);
  const auto data = pattern(kBytes, 0);
  std::ranges::copy(data, memory.get());
  t.value("write", ::pwrite(fd.get(), memory.get(), kBytes, 0));
  std::memset(memory.get(), 0, kBytes);
  t.value("read", ::pread(fd.get(), memory.get(), kBytes, 0));
  expect_pattern({memory.get(), kBytes}, 0);
  t.value("beyond", ::pread(fd.get(), memory.get(), 4096, static_cast<off_t>(kBytes)));
  t.value("odd size", ::pwrite(fd.get(), memory.get(), 1000, 0));
  t.value("odd offset", ::pwrite(fd.get(), memory.get(), 4096, 100));
  t.value("odd read", ::pread(fd.get(), memory.get(), 1000, 3));
  t.call("tail", ::ftruncate(fd.get(), 4096 + 700));
  t.value("read a tail", ::pread(fd.get(), memory.get(), 8192, 4096));
  const UniqueFd cached(::open("f", O_RDWR));
  t.value("cached write", ::pwrite(cached.get(), "cached", 6, 10));
  t.value("seen directly", ::pread(fd.get(), memory.get(), 4096, 0));
  EXPECT_EQ(std::string(memory.get() + 10, 6), "cached");
  t.call("switch off", ::fcntl(fd.get(), F_SETFL, 0));
  t.value("odd then", ::pwrite(fd.get(), "odd", 3, 1001));
  t.call("switch on", ::fcntl(cached.get(), F_SETFL, O_DIRECT));
  t.value("aligned", ::pread(cached.get(), memory.get(), 4096, 0));
  t.content("f");
}

// Who may not keep set-id bits takes them away by writing. A client that collects writes sends that
// one at once, while the source has not yet what it goes behind. Of whole pages, for no other write
// to bring them along.
void append_to_set_id(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT | O_APPEND, 0644));
  t.call("chmod", ::fchmod(fd.get(), 06755));
  const std::string piece(20'000, 'x');
  const auto write = [&] { return ::write(fd.get(), piece.data(), piece.size()); };
  t.value("before", write());
  const auto write_more = [&](Transcript& own) { own.value("more", write()); };
  if (::geteuid() == 0) {
    as({.name = "root without CAP_FSETID", .uid = 0, .gid = 0, .keeps_fsetid = false}, t,
       write_more);
  } else {
    write_more(t);
  }
  t.value("after", write());
  t.stat("f");
  t.content("f");
}

void file_size_limit(Transcript& t) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{10'000, RLIM_INFINITY};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  const auto data = pattern(9'000, 0);
  t.value("within", ::pwrite(fd.get(), data.data(), data.size(), 0));
  t.value("across", ::pwrite(fd.get(), data.data(), data.size(), 9'000));
  t.value("beyond", ::pwrite(fd.get(), data.data(), data.size(), 10'000));
  t.call("truncate", ::ftruncate(fd.get(), 20'000));
  t.stat("f");
  const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_FSIZE, &none);
}

// Several processes at once, each with files of its own: what one loop does must not reach into
// what another does.
void side_by_side(Transcript& t) {
  constexpr int kWriters = 4;
  const auto work = [](int number) {
    const std::string name = "w" + std::to_string(number);
    const auto seed = static_cast<std::uint64_t>(number + 1);
    const UniqueFd fd(::open(name.c_str(), O_RDWR | O_CREAT, 0644));
    for (std::uint64_t at = 0; at < 2'000'000; at += 61'001) {
      if (!write_all(fd.get(), pattern(61'001, at, seed), static_cast<off_t>(at))) return 1;
      const auto read = read_at(fd.get(), 61'001, static_cast<off_t>(at));
      if (read.size() != 61'001 || first_wrong_byte(read, at, seed)) return 2;
    }
    return ::fsync(fd.get()) == 0 ? 0 : 3;
  };
  for (int i = 0; i < kWriters; ++i) {
    if (::fork() == 0) ::_exit(work(i));
  }
  for (int i = 0; i < kWriters; ++i) {
    int status = -1;
    ::wait(&status);
    EXPECT_EQ(status, 0);
  }
  for (int i = 0; i < kWriters; ++i) t.content("w" + std::to_string(i));
}

}  // namespace

std::vector<Case> data_cases() {
  return {{"any-size", any_size},
          {"overwriting", overwriting},
          {"vectors", vectors},
          {"far-offsets", far_offsets},
          {"appending", appending},
          {"append-mode", append_mode},
          {"append-only", append_only},
          {"append-to-set-id", append_to_set_id},
          {"direct", direct},
          {"file-size-limit", file_size_limit},
          {"side-by-side", side_by_side}};
}

}  // namespace ouro::testing
