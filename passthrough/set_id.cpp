#include "passthrough/set_id.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace ouro::passthrough {
namespace {

// The group whose members keep the SGID bit of the file behind `fd`; empty where none does.
std::optional<gid_t> deciding_group(int fd) {
  struct ::stat stat {};
  if (::fstat(fd, &stat) < 0 || (stat.st_mode & (S_ISGID | S_IXGRP)) != S_ISGID) return {};
  return stat.st_gid;
}

std::string content_of(pid_t pid, const char* file) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/" + file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// What follows `key` in /proc/PID/status; nothing of a task that is gone, or not in our pid
// namespace.
std::string status_of(pid_t pid, std::string_view key) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return {};
}

std::vector<std::uint32_t> status_numbers(pid_t pid, std::string_view key) {
  std::istringstream text(status_of(pid, key));
  return {std::istream_iterator<std::uint32_t>(text), {}};
}

// For root, of whom it is not known whether he may keep the set-id bits of the file behind `fd`.
std::optional<Credentials> root_credentials(const Caller& root, int fd) {
  if (!has_set_id_bits(fd) || has_fsetid(root.pid)) return std::nullopt;
  return Credentials::without_fsetid(root.gid);
}

}  // namespace

bool is_member(pid_t pid, gid_t group) {
  const auto groups = status_numbers(pid, "Groups:");
  return std::ranges::find(groups, group) != groups.end();
}

Caller caller_of(pid_t pid) {
  constexpr std::uint32_t kNobody = 65534;
  // Real, effective, saved, and that of the file system.
  const auto uids = status_numbers(pid, "Uid:");
  const auto gids = status_numbers(pid, "Gid:");
  const bool known = uids.size() == 4 && gids.size() == 4;
  return {.uid = known ? uids[3] : kNobody,
          .gid = known ? gids[3] : kNobody,
          .pid = pid,
          .extra_group = {}};
}

bool has_set_id_bits(int fd) {
  struct ::stat stat {};
  return ::fstat(fd, &stat) == 0 && (stat.st_mode & (S_ISUID | S_ISGID)) != 0;
}

bool has_fsetid(pid_t pid) {
  // In a user namespace of its own a task has capabilities which are none in ours. Its map of ids
  // tells; /proc/PID/ns shows itself only to who has every capability of that task.
  const std::string map = content_of(pid, "uid_map");
  if (map.empty() || map != content_of(::getpid(), "uid_map")) return false;
  std::uint64_t effective = 0;
  std::istringstream(status_of(pid, "CapEff:")) >> std::hex >> effective;
  return (effective >> CAP_FSETID & 1U) != 0;
}

std::optional<Credentials> killing_credentials(const SetIdKiller& killer, int fd) {
  if (!killer) return std::nullopt;
  // Root without the capability: there is no other identity to take on.
  if (killer->uid == 0) return Credentials::without_fsetid(killer->gid);
  Credentials credentials = Credentials::owner(*killer);
  const auto group = deciding_group(fd);
  if (group && *group != killer->gid && is_member(killer->pid, *group)) {
    credentials.extra_group = group;
  }
  return credentials;
}

std::optional<Credentials> unflagged_killing_credentials(const SetIdKiller& killer, int fd) {
  if (killer && killer->uid == 0) return root_credentials(*killer, fd);
  return killing_credentials(killer, fd);
}

std::optional<Credentials> chown_credentials(const SetIdKiller& killer, int fd) {
  if (!killer) return std::nullopt;
  if (killer->uid == 0) return root_credentials(*killer, fd);
  const auto group = deciding_group(fd);
  if (!group || *group == killer->gid || is_member(killer->pid, *group)) return std::nullopt;
  return Credentials::without_fsetid(killer->gid);
}

std::optional<Credentials> touch_credentials(const SetIdKiller& killer, int fd) {
  if (!killer) return std::nullopt;
  if (killer->uid == 0) return root_credentials(*killer, fd);
  auto credentials = killing_credentials(killer, fd);
  credentials->kind = Credentials::Kind::kCaller;
  return credentials;
}

}  // namespace ouro::passthrough
