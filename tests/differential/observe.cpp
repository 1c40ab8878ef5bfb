#include "tests/differential/observe.hpp"

#include <dirent.h>
#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "tests/differential/call.hpp"
#include "tests/differential/payload.hpp"

namespace ouro::differential {
namespace {

constexpr std::int64_t kMebi = std::int64_t{1} << 20;
constexpr std::int64_t kReadBytes = kMebi;

struct Window {
  std::int64_t begin;
  std::int64_t end;
};

const char* entry_type_name(unsigned char type) {
  return type == DT_UNKNOWN ? "unknown" : type_name(static_cast<mode_t>(DTTOIF(type)));
}

std::string acl_tag(unsigned tag, unsigned id) {
  switch (tag) {
    case ACL_USER_OBJ:
      return "u:";
    case ACL_USER:
      return fmt::format("u{}:", id);
    case ACL_GROUP_OBJ:
      return "g:";
    case ACL_GROUP:
      return fmt::format("g{}:", id);
    case ACL_MASK:
      return "m:";
    case ACL_OTHER:
      return "o:";
    default:
      return fmt::format("tag{}:", tag);
  }
}

// Reads [window.begin, window.end); false at an error, which the summary then lacks.
bool add_window(DataSummary& summary, int fd, Window window, const Buffer& buffer) {
  while (window.begin < window.end) {
    const auto wanted =
        std::min(static_cast<std::size_t>(window.end - window.begin), buffer.size());
    const ssize_t count = ::pread(fd, buffer.data(), wanted, window.begin);
    if (count < 0) return false;
    if (count == 0) break;
    summary.add(buffer.first(count));
    window.begin += count;
  }
  return true;
}

}  // namespace

const char* type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "chardev";
    case S_IFBLK:
      return "blockdev";
    default:
      return "unknown";
  }
}

void observe_stat(Outcome& outcome, const std::string& prefix, const struct stat& attributes,
                  std::uint64_t root_device) {
  outcome.text(prefix + "type", type_name(attributes.st_mode));
  outcome.octal(prefix + "mode", attributes.st_mode & 07777U);
  outcome.number(prefix + "nlink", static_cast<std::int64_t>(attributes.st_nlink));
  outcome.number(prefix + "uid", attributes.st_uid);
  outcome.number(prefix + "gid", attributes.st_gid);
  outcome.number(prefix + "size", attributes.st_size);
  outcome.sectors(prefix + "blocks", attributes.st_blocks);
  outcome.number(prefix + "blksize", attributes.st_blksize);
  outcome.number(prefix + "rdev", static_cast<std::int64_t>(attributes.st_rdev));
  outcome.number(prefix + "same_dev", attributes.st_dev == root_device ? 1 : 0);
  outcome.time(prefix + "mtime", to_nanoseconds(attributes.st_mtim));
  outcome.time(prefix + "ctime", to_nanoseconds(attributes.st_ctim));
  outcome.access_time(prefix + "atime", to_nanoseconds(attributes.st_atim));
}

std::string describe_acl(std::span<const std::byte> value) {
  posix_acl_xattr_header header{};
  if (value.size() < sizeof header) return describe(value);
  std::memcpy(&header, value.data(), sizeof header);
  if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION) return describe(value);
  std::string text;
  for (auto rest = value.subspan(sizeof header); rest.size() >= sizeof(posix_acl_xattr_entry);
       rest = rest.subspan(sizeof(posix_acl_xattr_entry))) {
    posix_acl_xattr_entry entry{};
    std::memcpy(&entry, rest.data(), sizeof entry);
    const unsigned permissions = le16toh(entry.e_perm);
    text += fmt::format(
        "{}{}:{}{}{}", text.empty() ? "" : " ", acl_tag(le16toh(entry.e_tag), le32toh(entry.e_id)),
        (permissions & ACL_READ) != 0 ? 'r' : '-', (permissions & ACL_WRITE) != 0 ? 'w' : '-',
        (permissions & ACL_EXECUTE) != 0 ? 'x' : '-');
  }
  return text;
}

std::string describe_xattr(const std::string& name, std::span<const std::byte> value) {
  return name.rfind("system.posix_acl_", 0) == 0 ? describe_acl(value) : describe(value);
}

std::vector<std::string> split_xattr_names(std::span<const std::byte> list) {
  std::vector<std::string> names;
  std::string_view rest(reinterpret_cast<const char*>(list.data()), list.size());
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

loop::Result<std::vector<DirectoryEntry>> read_entries(int fd, std::size_t bytes) {
  struct Header {
    std::uint64_t inode;
    std::int64_t next;
    std::uint16_t length;
    unsigned char type;
  };
  constexpr std::size_t kNameOffset = 19;
  const Buffer buffer(bytes);
  const long filled = ::syscall(SYS_getdents64, fd, buffer.data(), bytes);
  if (filled < 0) return loop::fail(errno);
  std::vector<DirectoryEntry> entries;
  for (auto rest = buffer.first(filled); rest.size() > kNameOffset;) {
    Header header{};
    std::memcpy(&header, rest.data(), kNameOffset);
    entries.push_back({reinterpret_cast<const char*>(rest.data() + kNameOffset), header.inode,
                       header.next, header.type});
    rest = rest.subspan(header.length);
  }
  return entries;
}

loop::Result<std::vector<DirectoryEntry>> read_all_entries(int fd, std::size_t bytes) {
  std::vector<DirectoryEntry> all;
  while (true) {
    OURO_TRY_ASSIGN(auto some, read_entries(fd, bytes));
    if (some.empty()) return all;
    all.insert(all.end(), some.begin(), some.end());
  }
}

std::string describe_entries(std::span<const DirectoryEntry> entries) {
  std::vector<std::string> words;
  words.reserve(entries.size());
  for (const DirectoryEntry& entry : entries) {
    words.push_back(fmt::format("{}:{}", escape(entry.name), entry_type_name(entry.type)));
  }
  std::sort(words.begin(), words.end());
  return fmt::format("{}", fmt::join(words, " "));
}

std::string describe_content(int fd, std::int64_t size) {
  constexpr std::int64_t kFourGibi = std::int64_t{1} << 32;
  constexpr std::int64_t kSixteenTebi = std::int64_t{1} << 44;
  constexpr Window kWindows[] = {{0, 4 * kMebi},
                                 {kFourGibi - kMebi, kFourGibi + 2 * kMebi},
                                 {kSixteenTebi - kMebi, kSixteenTebi + kMebi}};
  const Buffer buffer(static_cast<std::size_t>(std::clamp<std::int64_t>(size, 1, kReadBytes)));
  DataSummary summary;
  for (const Window& window : kWindows) {
    if (!add_window(summary, fd, {window.begin, std::min(window.end, size)}, buffer)) {
      return errno_name(errno);
    }
  }
  const std::int64_t tail = std::max(kWindows[0].end, size - 2 * kMebi);
  if (!add_window(summary, fd, {tail, size}, buffer)) return errno_name(errno);
  return summary.text();
}

}  // namespace ouro::differential
