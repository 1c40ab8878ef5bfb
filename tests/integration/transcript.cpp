#include "tests/integration/transcript.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <sstream>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/blackboard.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::filesystem::path;

std::string octal(unsigned number) {
  std::ostringstream text;
  text << '0' << std::oct << number;
  return text.str();
}

char type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 'f';
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    case S_IFCHR:
      return 'c';
    case S_IFBLK:
      return 'b';
    default:
      return '?';
  }
}

// FNV-1a over the bytes of a file, holes included.
std::string checksum(const std::string& name) {
  const UniqueFd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOATIME));
  const UniqueFd again(file ? -1 : ::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  const int fd = file ? file.get() : again.get();
  if (fd < 0) return Transcript::error_name(errno);
  std::uint64_t hash = 14695981039346656037ULL;
  std::uint64_t bytes = 0;
  std::array<unsigned char, 65536> block{};
  ssize_t got = 0;
  while ((got = ::read(fd, block.data(), block.size())) > 0) {
    bytes += static_cast<std::uint64_t>(got);
    for (ssize_t i = 0; i < got; ++i) {
      hash = (hash ^ block[static_cast<std::size_t>(i)]) * 1099511628211ULL;
    }
  }
  if (got < 0) return Transcript::error_name(errno);
  return std::to_string(bytes) + ":" + std::to_string(hash);
}

// Security labels are the machine's affair.
std::string xattrs_of(const path& file) {
  std::array<char, 65536> names{};
  const ssize_t size = ::llistxattr(file.c_str(), names.data(), names.size());
  std::vector<std::string> found;
  for (ssize_t at = 0; at < size;) {
    const std::string name(&names[static_cast<std::size_t>(at)]);
    at += static_cast<ssize_t>(name.size()) + 1;
    std::array<char, 65536> value{};
    const ssize_t bytes = ::lgetxattr(file.c_str(), name.c_str(), value.data(), value.size());
    std::string text = " " + name + "=";
    for (ssize_t i = 0; i < bytes; ++i)
      text += octal(static_cast<unsigned char>(value[static_cast<std::size_t>(i)]));
    if (!name.starts_with("security.")) found.push_back(text);
  }
  std::ranges::sort(found);
  std::string all;
  for (const std::string& one : found) all += one;
  return all;
}

std::string describe(const path& file, const std::string& name) {
  struct ::stat found {};
  if (::lstat(file.c_str(), &found) != 0) return name + " " + Transcript::error_name(errno);
  std::string text = name + " " + type_of(found.st_mode) + octal(found.st_mode & 07777) + " " +
                     std::to_string(found.st_uid) + ":" + std::to_string(found.st_gid);
  // Directories count and measure themselves by the rules of their file system.
  if (!S_ISDIR(found.st_mode)) {
    text += " links=" + std::to_string(found.st_nlink) + " size=" + std::to_string(found.st_size);
  }
  if (S_ISLNK(found.st_mode)) text += " -> " + std::filesystem::read_symlink(file).string();
  if (S_ISCHR(found.st_mode) || S_ISBLK(found.st_mode)) {
    text += " device=" + std::to_string(::major(found.st_rdev)) + ":" +
            std::to_string(::minor(found.st_rdev));
  }
  // A file of many TiB has little in it, but to read it takes for ever.
  constexpr off_t kReadable = off_t{64} << 20;
  if (S_ISREG(found.st_mode) && found.st_size <= kReadable) text += " " + checksum(file);
  return text + xattrs_of(file);
}

std::vector<std::string> transcribe(const Case& test_case, const path& root, Who who,
                                    Transcript::Side side) {
  const Blackboard blackboard;
  in_child(who, [&] {
    ::umask(022);
    const path directory = root / test_case.name;
    ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0) << directory << ": " << std::strerror(errno);
    ASSERT_EQ(::chdir(directory.c_str()), 0) << directory;
    Transcript transcript(side);
    test_case.body(transcript);
    blackboard.write(transcript.lines());
    blackboard.write(describe_tree("."));
  });
  return blackboard.lines();
}

// The places where two lists of lines differ, by position.
std::string differences(const std::vector<std::string>& native,
                        const std::vector<std::string>& mount) {
  std::string text;
  const std::string none = "(nothing)";
  for (std::size_t i = 0; i < std::max(native.size(), mount.size()); ++i) {
    const std::string& left = i < native.size() ? native[i] : none;
    const std::string& right = i < mount.size() ? mount[i] : none;
    if (left != right) text += "\n  native: " + left + "\n  mount:  " + right;
  }
  return text;
}

}  // namespace

std::string Transcript::error_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

void Transcript::note(const std::string& what, const std::string& fact) {
  lines_.push_back(what + " = " + fact);
}

void Transcript::attributes(const std::string& what, int result, const struct ::stat& found) {
  if (result != 0) return note(what, error_name(errno));
  std::string text{type_of(found.st_mode)};
  text += octal(found.st_mode & 07777) + " " + std::to_string(found.st_uid) + ":" +
          std::to_string(found.st_gid);
  if (!S_ISDIR(found.st_mode)) {
    text += " links=" + std::to_string(found.st_nlink) + " size=" + std::to_string(found.st_size);
  }
  note(what, text);
}

void Transcript::stat(const std::string& path) {
  struct ::stat found {};
  const int result = ::lstat(path.c_str(), &found);
  attributes("stat " + path, result, found);
}

void Transcript::fstat(const std::string& what, int fd) {
  struct ::stat found {};
  const int result = ::fstat(fd, &found);
  attributes("fstat " + what, result, found);
}

void Transcript::content(const std::string& path) {
  note("content of " + path, checksum(path));
}

void compare_with_native(const Mounted& mounted, const std::vector<Case>& cases) {
  for (const Case& test_case : cases) {
    SCOPED_TRACE(test_case.name);
    const auto native =
        transcribe(test_case, mounted.native(), mounted.who(), Transcript::Side::kNative);
    const auto mount =
        transcribe(test_case, mounted.path(), mounted.who(), Transcript::Side::kMount);
    ASSERT_FALSE(native.empty()) << "nothing was written down";
    EXPECT_TRUE(native == mount) << differences(native, mount);
    // What the mount shows is what is really there.
    const auto made = describe_tree(mounted.native() / test_case.name);
    const auto found = describe_tree(mounted.source() / test_case.name);
    EXPECT_TRUE(made == found) << "in the source" << differences(made, found);
  }
}

std::vector<std::string> describe_tree(const path& root) {
  std::vector<std::string> lines;
  std::error_code error;
  auto options = std::filesystem::directory_options::none;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root, options, error)) {
    lines.push_back(describe(entry.path(), entry.path().lexically_relative(root)));
  }
  if (error) lines.push_back("cannot read: " + error.message());
  std::ranges::sort(lines);
  return lines;
}

}  // namespace ouro::testing
