#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr std::size_t kPage = 4096;

// A mapping of a part of a file.
class Mapping {
 public:
  Mapping(int fd, std::size_t bytes, int protection, int flags, off_t offset = 0)
      : bytes_(bytes), start_(::mmap(nullptr, bytes, protection, flags, fd, offset)) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (*this) ::munmap(start_, bytes_);
  }

  explicit operator bool() const { return start_ != MAP_FAILED; }
  [[nodiscard]] char* data() const { return static_cast<char*>(start_); }
  [[nodiscard]] std::span<char> bytes() const { return {data(), bytes_}; }
  [[nodiscard]] int sync() const { return ::msync(start_, bytes_, MS_SYNC); }

 private:
  std::size_t bytes_;
  void* start_;
};

bool all_zero(std::span<const char> bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == 0; });
}

void shared(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  constexpr std::size_t kBytes = 300 * kPage;
  EXPECT_TRUE(write_all(fd.get(), pattern(kBytes, 0), 0));
  {
    const Mapping map(fd.get(), kBytes, PROT_READ | PROT_WRITE, MAP_SHARED);
    ASSERT_TRUE(map);
    expect_pattern(map.bytes(), 0);
    for (std::size_t at = 0; at < kBytes; at += 7 * kPage + 11) map.data()[at] = 'm';
    // Both ways at once: what is written is seen in the mapping, and the other way round.
    char byte = 0;
    t.value("read", ::pread(fd.get(), &byte, 1, 7 * kPage + 11));
    EXPECT_EQ(byte, 'm');
    t.value("write", ::pwrite(fd.get(), "seen", 4, 5000));
    EXPECT_EQ(std::string(map.data() + 5000, 4), "seen");
    t.call("msync", map.sync());
    map.data()[1] = 'u';  // left to munmap and close
  }
  t.call("fsync", ::fsync(fd.get()));
  t.content("f");
}

void copy_on_write(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(fd.get(), pattern(4 * kPage, 0), 0));
  const UniqueFd reader(::open("f", O_RDONLY));
  const Mapping map(reader.get(), 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_TRUE(map);
  map.data()[10] = 'p';
  EXPECT_EQ(map.data()[10], 'p');
  t.value("write", ::pwrite(fd.get(), "x", 1, 3 * kPage));
  t.content("f");
  t.call("shared by a reader",
         Mapping(reader.get(), kPage, PROT_READ | PROT_WRITE, MAP_SHARED) ? 0 : -1);
  t.call("looking on", Mapping(reader.get(), kPage, PROT_READ, MAP_SHARED) ? 0 : -1);
  const UniqueFd writer(::open("f", O_WRONLY));
  t.call("by a writer", Mapping(writer.get(), kPage, PROT_WRITE, MAP_SHARED) ? 0 : -1);
}

// The last page of a file whose size is odd: zeros beyond the end, and what is written there
// never becomes part of the file.
void tails(Transcript& t) {
  const UniqueFd fd(::open("f", O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(write_all(fd.get(), pattern(kPage + 100, 0), 0));
  const Mapping map(fd.get(), 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
  ASSERT_TRUE(map);
  EXPECT_TRUE(all_zero(map.bytes().subspan(kPage + 100)));
  map.data()[kPage + 99] = 'e';
  map.data()[kPage + 100] = 'b';
  t.call("msync", map.sync());
  t.stat("f");
  t.call("extend", ::ftruncate(fd.get(), kPage + 300));
  char bytes[200];
  t.value("read", ::pread(fd.get(), bytes, sizeof bytes, kPage + 100));
  // A tmpfs itself shows what was written there.
  if (t.side() == Transcript::Side::kMount) {
    EXPECT_TRUE(all_zero(bytes)) << "what was written beyond the end shows up";
  }
  t.value("write over it", ::pwrite(fd.get(), "0", 1, kPage + 100));
  t.value("append", ::pwrite(fd.get(), "more", 4, kPage + 300));
  EXPECT_EQ(std::string(map.data() + kPage + 300, 4), "more");
  t.content("f");
}

// Mapped pages of files that are open for appending, or for direct I/O: they are written back
// where they belong, whatever the flags of the descriptor.
void tails_of_flags(Transcript& t) {
  for (const int flags : {O_APPEND, O_DIRECT}) {
    make_file("f");
    {
      const UniqueFd plain(::open("f", O_RDWR));
      EXPECT_TRUE(write_all(plain.get(), pattern(2 * kPage + 123, 0), 0));
    }
    const UniqueFd fd(::open("f", O_RDWR | flags));
    t.call("open", fd.get());
    if (!fd) return;
    const Mapping map(fd.get(), 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
    t.call("map", map ? 0 : -1);
    if (!map) return;
    map.data()[0] = 'a';
    map.data()[2 * kPage + 122] = 'z';
    t.call("msync", map.sync());
    t.call("fsync", ::fsync(fd.get()));
    t.stat("f");
    t.content("f");
    if (flags == O_APPEND) t.value("append", ::write(fd.get(), "end", 3));
    t.stat("f");
    ::rename("f", flags == O_APPEND ? "appended" : "direct");
  }
}

void beyond_the_end(Transcript& t) {
  make_file("f", "text");
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGBUS, SIG_DFL);
    const UniqueFd fd(::open("f", O_RDONLY));
    const Mapping map(fd.get(), 4 * kPage, PROT_READ, MAP_SHARED);
    const volatile char* far = map.data() + 2 * kPage;
    ::_exit(*far);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  t.note("far beyond the end", WIFSIGNALED(status) ? std::to_string(WTERMSIG(status)) : "readable");
}

// A mapping keeps its file alive, and sees the truth after a truncation.
void outliving(Transcript& t) {
  make_file("f", std::string(3 * kPage, 'x'));
  UniqueFd fd(::open("f", O_RDWR));
  const Mapping map(fd.get(), 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
  ASSERT_TRUE(map);
  t.call("truncate", ::ftruncate(fd.get(), kPage + 1));
  t.call("and back", ::ftruncate(fd.get(), 3 * kPage));
  EXPECT_TRUE(all_zero(map.bytes().subspan(kPage + 1)));
  fd.reset();
  t.call("unlink", ::unlink("f"));
  map.data()[2 * kPage] = 'y';
  t.call("msync", map.sync());
  EXPECT_EQ(map.data()[2 * kPage], 'y');
}

// A program is run by mapping it.
void running_a_program(Transcript& t) {
  std::error_code error;
  std::filesystem::copy_file("/bin/true", "program", error);
  t.note("copy", error.message());
  ::chmod("program", 0755);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("./program", "./program", nullptr);
    ::_exit(99);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ::chmod("program", 0644);
  t.call("without x", ::access("program", X_OK));
}

}  // namespace

std::vector<Case> mapping_cases() {
  return {{"shared", shared},
          {"copy-on-write", copy_on_write},
          {"tails", tails},
          {"tails-of-flags", tails_of_flags},
          {"beyond-the-end", beyond_the_end},
          {"outliving", outliving},
          {"running-a-program", running_a_program}};
}

}  // namespace ouro::testing
