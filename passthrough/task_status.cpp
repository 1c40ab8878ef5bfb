#include "passthrough/task_status.hpp"

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

}  // namespace

bool is_member(pid_t pid, gid_t group) {
  const auto groups = status_numbers(pid, "Groups:");
  return std::ranges::find(groups, group) != groups.end();
}

bool has_capability(pid_t pid, unsigned capability) {
  // In a user namespace of its own a task has capabilities which are none in ours. Its map of ids
  // tells; /proc/PID/ns shows itself only to who has every capability of that task.
  const std::string map = content_of(pid, "uid_map");
  if (map.empty() || map != content_of(::getpid(), "uid_map")) return false;
  std::uint64_t effective = 0;
  std::istringstream(status_of(pid, "CapEff:")) >> std::hex >> effective;
  return (effective >> capability & 1U) != 0;
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

}  // namespace ouro::passthrough
