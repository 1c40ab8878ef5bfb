#include "passthrough/set_id.hpp"

#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <string>

namespace ouro::passthrough {
namespace {

// The group whose members keep the SGID bit of the file behind `fd`; empty where none does.
std::optional<gid_t> deciding_group(int fd) {
  struct ::stat stat {};
  if (::fstat(fd, &stat) < 0 || (stat.st_mode & (S_ISGID | S_IXGRP)) != S_ISGID) return {};
  return stat.st_gid;
}

}  // namespace

bool is_member(pid_t pid, gid_t group) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line)) {
    if (!line.starts_with("Groups:")) continue;
    std::istringstream groups(line.substr(sizeof("Groups:") - 1));
    for (gid_t one = 0; groups >> one;) {
      if (one == group) return true;
    }
    return false;
  }
  return false;
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

std::optional<Credentials> chown_credentials(const SetIdKiller& killer, int fd) {
  if (!killer || killer->uid == 0) return std::nullopt;
  const auto group = deciding_group(fd);
  if (!group || *group == killer->gid || is_member(killer->pid, *group)) return std::nullopt;
  return Credentials::without_fsetid(killer->gid);
}

std::optional<Credentials> touch_credentials(const SetIdKiller& killer, int fd) {
  if (!killer || killer->uid == 0) return std::nullopt;
  auto credentials = killing_credentials(killer, fd);
  credentials->kind = Credentials::Kind::kCaller;
  return credentials;
}

}  // namespace ouro::passthrough
