#include "passthrough/set_id.hpp"

#include <linux/capability.h>
#include <sys/stat.h>

#include "passthrough/task_status.hpp"

namespace ouro::passthrough {
namespace {

// Of the file behind `fd`; of one that cannot be asked, a mode without any bits.
struct ::stat stat_of(int fd) {
  struct ::stat stat {};
  if (::fstat(fd, &stat) < 0) return {};
  return stat;
}

bool is_set_id(const struct ::stat& stat) {
  return (stat.st_mode & (S_ISUID | S_ISGID)) != 0;
}

// The group whose members keep the SGID bit of a file; empty where none does.
std::optional<gid_t> deciding_group(const struct ::stat& stat) {
  if ((stat.st_mode & (S_ISGID | S_IXGRP)) != S_ISGID) return {};
  return stat.st_gid;
}

// For root, of whom it is not known whether he may keep the set-id bits of the file behind `fd`.
std::optional<Credentials> root_credentials(const Caller& root, int fd) {
  if (!has_set_id_bits(fd) || has_capability(root.pid, CAP_FSETID)) return std::nullopt;
  return Credentials::without_fsetid(root.gid);
}

}  // namespace

bool has_set_id_bits(int fd) {
  return is_set_id(stat_of(fd));
}

Killing killing(const SetIdKiller& killer, int fd) {
  if (!killer) return {};
  const struct ::stat stat = stat_of(fd);
  const bool clears = is_set_id(stat);
  // Root without the capability: there is no other identity to take on.
  if (killer->uid == 0) return {Credentials::without_fsetid(killer->gid), clears};
  Credentials credentials = Credentials::owner(*killer);
  const auto group = deciding_group(stat);
  if (group && *group != killer->gid && is_member(killer->pid, *group)) {
    credentials.extra_group = group;
  }
  return {credentials, clears};
}

std::optional<Credentials> killing_credentials(const SetIdKiller& killer, int fd) {
  return killing(killer, fd).credentials;
}

std::optional<Credentials> unflagged_killing_credentials(const SetIdKiller& killer, int fd) {
  if (killer && killer->uid == 0) return root_credentials(*killer, fd);
  return killing_credentials(killer, fd);
}

std::optional<Credentials> chown_credentials(const SetIdKiller& killer, int fd) {
  if (!killer) return std::nullopt;
  if (killer->uid == 0) return root_credentials(*killer, fd);
  const auto group = deciding_group(stat_of(fd));
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
