#include "tests/integration/file_tools.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

void write_file(const std::string& path, int flags, const std::string& content) {
  const UniqueFd file(::open(path.c_str(), flags | O_WRONLY | O_CLOEXEC, 0644));
  ASSERT_TRUE(file) << path << ": " << std::strerror(errno);
  ASSERT_EQ(::write(file.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()))
      << path << ": " << std::strerror(errno);
}

// splitmix64: a good hash of a counter.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

char pattern_byte(std::uint64_t position, std::uint64_t seed) {
  return static_cast<char>(mix(position / 8 + (seed << 48U)) >> (position % 8 * 8));
}

}  // namespace

void make_file(const std::string& path, const std::string& content) {
  write_file(path, O_CREAT | O_EXCL, content);
}

void append_to(const std::string& path, const std::string& content) {
  write_file(path, O_APPEND, content);
}

ino_t inode_of(const std::string& path) {
  struct ::stat found {};
  EXPECT_EQ(::lstat(path.c_str(), &found), 0) << path << ": " << std::strerror(errno);
  return found.st_ino;
}

int set_protection(const std::string& path, int protection) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int flags = 0;
  if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) return -1;
  flags = (flags & ~(FS_APPEND_FL | FS_IMMUTABLE_FL)) | protection;
  return ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags);
}

std::vector<char> pattern(std::size_t bytes, std::uint64_t position, std::uint64_t seed) {
  std::vector<char> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = pattern_byte(position + i, seed);
  return data;
}

std::optional<std::uint64_t> first_wrong_byte(std::span<const char> data, std::uint64_t position,
                                              std::uint64_t seed) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (data[i] != pattern_byte(position + i, seed)) return position + i;
  }
  return std::nullopt;
}

void expect_pattern(std::span<const char> data, std::uint64_t position, std::uint64_t seed) {
  const auto wrong = first_wrong_byte(data, position, seed);
  EXPECT_FALSE(wrong) << "wrong byte at " << *wrong << " in " << data.size() << " bytes from "
                      << position;
}

AlignedMemory aligned_memory(std::size_t bytes) {
  return {static_cast<char*>(std::aligned_alloc(4096, bytes)), &std::free};
}

bool write_all(int fd, std::span<const char> data, off_t offset) {
  while (!data.empty()) {
    const ssize_t written = ::pwrite(fd, data.data(), data.size(), offset);
    if (written <= 0) return false;
    data = data.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
  return true;
}

std::vector<char> read_at(int fd, std::size_t bytes, off_t offset) {
  std::vector<char> data(bytes);
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        ::pread(fd, data.data() + done, bytes - done, offset + static_cast<off_t>(done));
    EXPECT_GE(got, 0) << "pread: " << std::strerror(errno);
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  data.resize(done);
  return data;
}

}  // namespace ouro::testing
