#include "passthrough/task_status.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loop/unique_fd.hpp"

namespace ouro::passthrough {
namespace {

using loop::UniqueFd;

// KERNEL(5.8): whom a procfs hides is a matter of its mount. Empty if this process may not mount.
UniqueFd detached_procfs() {
  const UniqueFd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (!context) return {};
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) return {};
  return UniqueFd(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
}

UniqueFd open_tasks() {
  UniqueFd procfs = detached_procfs();
  return procfs ? std::move(procfs) : UniqueFd(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

const UniqueFd& tasks() {
  static const UniqueFd kDirectory = open_tasks();
  return kDirectory;
}

std::string content_of(pid_t pid, const char* file) {
  const std::string path = std::to_string(pid) + "/" + file;
  const UniqueFd fd(::openat(tasks().get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> block;
  ssize_t bytes = 0;
  while (fd && (bytes = ::read(fd.get(), block.data(), block.size())) > 0) {
    text.append(block.data(), static_cast<std::size_t>(bytes));
  }
  return text;
}

// What follows `key` in /proc/PID/status; nothing of a task that is gone, or not in our pid
// namespace. From the start of a line only: the first one is the task's name, which it chooses.
// KERNEL: a newline in there is shown as two other characters.
std::string value_of(std::string_view status, std::string_view key) {
  const std::size_t line = status.find("\n" + std::string(key));
  if (line == std::string_view::npos) return {};
  status.remove_prefix(line + 1 + key.size());
  return std::string(status.substr(0, status.find('\n')));
}

std::string status_of(pid_t pid, std::string_view key) {
  return value_of(content_of(pid, "status"), key);
}

std::uint64_t hexadecimal(const std::string& text) {
  std::uint64_t value = 0;
  std::istringstream(text) >> std::hex >> value;
  return value;
}

std::vector<std::uint32_t> status_numbers(pid_t pid, std::string_view key) {
  std::istringstream text(status_of(pid, key));
  return {std::istream_iterator<std::uint32_t>(text), {}};
}

}  // namespace

void open_task_directory() {
  static_cast<void>(tasks());
}

std::vector<gid_t> groups_of(pid_t pid) {
  return status_numbers(pid, "Groups:");
}

bool is_member(pid_t pid, gid_t group) {
  const auto groups = groups_of(pid);
  return std::ranges::find(groups, group) != groups.end();
}

bool has_capability(pid_t pid, unsigned capability) {
  // In a user namespace of its own a task has capabilities which are none in ours. Its map of ids
  // tells; /proc/PID/ns shows itself only to who has every capability of that task.
  const std::string map = content_of(pid, "uid_map");
  if (map.empty() || map != content_of(::getpid(), "uid_map")) return false;
  return (hexadecimal(status_of(pid, "CapEff:")) >> capability & 1U) != 0;
}

bool is_being_killed(pid_t pid) {
  const std::string status = content_of(pid, "status");
  const std::uint64_t pending =
      hexadecimal(value_of(status, "SigPnd:")) | hexadecimal(value_of(status, "ShdPnd:"));
  return (pending >> (SIGKILL - 1) & 1U) != 0;
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
