#include "mount-helper/fusermount.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

// PATH belongs to the user, and a daemon may outlive its meaning.
constexpr std::array kPlaces = {"/usr/bin/fusermount3", "/bin/fusermount3",
                                "/usr/local/bin/fusermount3"};

const char* find_program() {
  for (const char* place : kPlaces) {
    if (::access(place, X_OK) == 0) return place;
  }
  return nullptr;
}

// What a child of ours starts with: stdin and stdout nowhere, stderr in `output`, no signal blocked
// or ignored whatever our threads do.
class SpawnSettings {
 public:
  explicit SpawnSettings(int output) {
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files_, output, STDERR_FILENO);
    ::posix_spawnattr_init(&attributes_);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSettings() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&files_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  SpawnSettings(SpawnSettings&&) = delete;
  SpawnSettings& operator=(SpawnSettings&&) = delete;

  // A KernelResult: the pid, or -errno.
  loop::KernelResult spawn(const char* program, std::vector<const char*>& arguments) {
    char* environment[] = {nullptr};
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, program, &files_, &attributes_,
                                    const_cast<char**>(arguments.data()), environment);
    return error != 0 ? -error : pid;
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

std::string read_all(int fd) {
  std::string text;
  std::array<char, 512> block{};
  while (true) {
    const ssize_t length = ::read(fd, block.data(), block.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return text;
    text.append(block.data(), static_cast<std::size_t>(length));
  }
}

// True: it ended by itself with exit code 0.
bool wait_for_success(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Outcome<void> run_fusermount(const std::string& mountpoint, UnmountMode mode) {
  const std::string what = "cannot unmount " + quoted(mountpoint) + ": ";
  const char* program = find_program();
  if (program == nullptr) {
    return give_up(ExitCode::kMountFailed, what + "there is no fusermount3",
                   "install the package fuse3");
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return give_up(ExitCode::kSystem, what + errno_text(errno));
  }
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);

  std::vector<const char*> arguments = {program, "-u"};
  if (mode == UnmountMode::kLazy) arguments.push_back("-z");
  arguments.insert(arguments.end(), {"--", mountpoint.c_str(), nullptr});
  const loop::KernelResult pid = SpawnSettings(write_end.get()).spawn(program, arguments);
  write_end.reset();
  if (pid < 0) {
    return give_up(ExitCode::kSystem, what + program + ": " + errno_text(static_cast<int>(-pid)));
  }
  std::string said = read_all(read_end.get());
  if (wait_for_success(static_cast<pid_t>(pid))) return {};
  said.erase(said.find_last_not_of('\n') + 1);
  return give_up(ExitCode::kMountFailed,
                 what + (said.empty() ? "fusermount3 failed" : printable(said)));
}

}  // namespace ouro::mount_helper
