#include "mount-helper/mount_table.hpp"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "loop/unique_fd.hpp"

// linux/stat.h of Debian 12 ends before it.
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U
#endif

namespace ouro::mount_helper {
namespace {

// KERNEL(6.18): with AT_STATX_DONT_SYNC and no attribute asked for, FUSE answers from its cache.
loop::Result<struct ::statx> statx_locally(int fd, unsigned mask) {
  struct ::statx result {};
  const long rc = ::syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                            mask, &result);
  OURO_TRY(loop::to_status(loop::from_libc(rc)));
  return result;
}

// The octal escapes of mountinfo: space, tab, newline and backslash.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      result += static_cast<char>(value);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// 36 35 98:0 /root /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw
std::optional<MountEntry> parse_line(const std::string& line, const MountId& id) {
  std::istringstream words(line);
  std::uint64_t number = 0;
  std::string parent;
  std::string device;
  MountEntry entry;
  if (!(words >> number >> parent >> device >> entry.root >> entry.path)) return std::nullopt;
  if (number != id.number) return std::nullopt;
  if (device != std::to_string(major(id.device)) + ":" + std::to_string(minor(id.device))) {
    return std::nullopt;
  }
  std::string word;
  while (words >> word && word != "-") {
  }
  words >> entry.type >> entry.source;
  entry.path = unescape(entry.path);
  entry.root = unescape(entry.root);
  entry.source = unescape(entry.source);
  return entry;
}

}  // namespace

loop::Result<MountId> mount_at(const std::string& path) {
  const loop::UniqueFd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return loop::fail(errno);
  OURO_TRY_ASSIGN(const struct ::statx plain, statx_locally(fd.get(), STATX_MNT_ID));
  OURO_TRY_ASSIGN(const struct ::statx unique, statx_locally(fd.get(), STATX_MNT_ID_UNIQUE));
  MountId id;
  id.number = plain.stx_mnt_id;
  if ((unique.stx_mask & STATX_MNT_ID_UNIQUE) != 0) id.unique = unique.stx_mnt_id;
  id.device = ::makedev(plain.stx_dev_major, plain.stx_dev_minor);
  return id;
}

std::optional<MountEntry> find_mount(std::string_view table, const MountId& id) {
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    if (auto entry = parse_line(line, id)) return entry;
  }
  return std::nullopt;
}

std::optional<MountEntry> find_mount(const MountId& id) {
  const std::ifstream file("/proc/self/mountinfo");
  if (!file) return std::nullopt;
  std::ostringstream table;
  table << file.rdbuf();
  return find_mount(table.str(), id);
}

std::string path_of_mount(const MountId& id, const std::string& path) {
  if (const auto here = mount_at(path); here && *here == id) return path;
  const auto entry = find_mount(id);
  if (!entry) return {};
  const auto there = mount_at(entry->path);
  return there && *there == id ? entry->path : std::string();
}

bool is_dead(const std::string& path) {
  struct stat attributes {};
  return ::stat(path.c_str(), &attributes) != 0 && errno == ENOTCONN;
}

}  // namespace ouro::mount_helper
