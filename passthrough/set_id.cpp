#include "passthrough/set_id.hpp"

#include <linux/capability.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace ouro::passthrough {
namespace {

// The group whose members keep the SGID bit of the file behind `fd`; empty where none does.
std::optional<gid_t> deciding_group(int fd) {
  struct ::stat stat {};
  if (::fstat(fd, &stat) < 0 || (stat.st_mode & (S_ISGID | S_IXGRP)) != S_ISGID) return {};
  return stat.st_gid;
}

// What follows `key` in /proc/PID/status; nothing if that cannot be read.
std::string status_of(pid_t pid, std::string_view key) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return {};
}

// For root, of whom it is not known whether he may keep the set-id bits of the file behind `fd`.
std::optional<Credentials> root_credentials(const Caller& root, int fd) {
  struct ::stat stat {};
  const bool has_bits = ::fstat(fd, &stat) == 0 && (stat.st_mode & (S_ISUID | S_ISGID)) != 0;
  if (!has_bits || has_fsetid(root.pid)) return std::nullopt;
  return Credentials::without_fsetid(root.gid);
}

}  // namespace

bool is_member(pid_t pid, gid_t group) {
  std::istringstream groups(status_of(pid, "Groups:"));
  for (gid_t one = 0; groups >> one;) {
    if (one == group) return true;
  }
  return false;
}

bool has_fsetid(pid_t pid) {
  // In a user namespace of its own a task has capabilities which are none in ours.
  const std::string space = "/proc/" + std::to_string(pid) + "/ns/user";
  std::error_code error;
  if (!std::filesystem::equivalent(space, "/proc/self/ns/user", error)) return false;
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
