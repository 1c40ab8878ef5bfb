#include "mount-helper/unmount_helper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string_view>
#include <utility>

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

constexpr int kSocket = STDERR_FILENO + 1;  // in the helper
constexpr char kReady = 'r';
constexpr char kEnd = 'e';
constexpr std::size_t kLongestMessage = 16'384;

// --- messages: one packet each, whose first byte says what it is ---------------------------------

bool tell(int socket, const std::string& message) {
  ssize_t sent = 0;
  do {
    sent = ::send(socket, message.data(), message.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(message.size());
}

// Empty: the other side is gone.
std::string receive(int socket) {
  std::string message(kLongestMessage, '\0');
  ssize_t length = 0;
  do {
    length = ::read(socket, message.data(), message.size());
  } while (length < 0 && errno == EINTR);
  message.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  return message;
}

constexpr char kUnmount = 'u';
constexpr char kDetach = 'd';
constexpr char kDetachAndWriteBack = 'w';

// The exit code, the message, NUL and the hint.
std::string encode_reply(const Outcome<void>& outcome) {
  if (outcome) return {static_cast<char>(ExitCode::kOk)};
  const Failure& failure = outcome.error();
  std::string reply(1, static_cast<char>(failure.exit_code));
  return reply.append(failure.message).append(1, '\0').append(failure.hint);
}

Outcome<void> decode_reply(std::string_view reply) {
  const auto code = static_cast<ExitCode>(reply[0]);
  if (code == ExitCode::kOk) return {};
  const std::size_t end = reply.find('\0', 1);
  const std::string_view hint =
      end == std::string_view::npos ? std::string_view() : reply.substr(end + 1);
  return give_up(code, std::string(reply.substr(1, end - 1)), std::string(hint));
}

// --- the helper ----------------------------------------------------------------------------------

// Holds on to nothing of its parent, and least of all to the channel: the connection would live for
// as long as the helper does.
void let_go(int socket) {
  // Not killed along with the process group or terminal of who started us.
  ::setsid();
  sigset_t signals;
  ::sigfillset(&signals);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::prctl(PR_SET_NAME, "ourofs-unmount");
  if (::dup3(socket, kSocket, O_CLOEXEC) < 0 && socket != kSocket) ::_exit(1);
  ::closefrom(kSocket + 1);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = STDIN_FILENO; fd < kSocket; ++fd) ::dup2(null.get(), fd);
}

Outcome<void> unmount_here(const std::string& path, UnmountMode mode) {
  const int flags = UMOUNT_NOFOLLOW | (mode == UnmountMode::kLazy ? MNT_DETACH : 0);
  if (::umount2(path.c_str(), flags) == 0) return {};
  const int error = errno;
  if (error == EPERM) return run_fusermount(path, mode);
  return give_up(ExitCode::kMountFailed,
                 "cannot unmount " + quoted(path) + ": " + errno_text(error));
}

Outcome<void> detach_and_write_back_here(const std::string& path) {
  // KERNEL: an O_PATH open sends no request, so the mount is out of sight at once even where every
  // loop is stuck.
  const UniqueFd place(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto detached = unmount_here(path, UnmountMode::kLazy);
  const UniqueFd root(::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root) ::syncfs(root.get());
  return detached;
}

Outcome<void> serve_request(std::string_view message) {
  const std::string path(message.substr(1));
  if (message[0] == kDetachAndWriteBack) return detach_and_write_back_here(path);
  return unmount_here(path, message[0] == kDetach ? UnmountMode::kLazy : UnmountMode::kGraceful);
}

void detach_when_dead(const MountId& id, const std::string& path) {
  constexpr int kLooks = 1'000;
  constexpr useconds_t kPauseUs = 10'000;
  for (int look = 0; look < kLooks; ++look) {
    const std::string now = path_of_mount(id, path);
    if (now.empty()) return;
    if (is_dead(now)) return static_cast<void>(unmount_here(now, UnmountMode::kLazy));
    ::usleep(kPauseUs);
  }
}

void await_end_of(const UniqueFd& process) {
  pollfd ended{process.get(), POLLIN, 0};
  while (process && ::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void help(pid_t parent, const MountId& id, const std::string& path,
                       UnmountHelper::Orphaned orphaned) {
  // Not by glibc 2.36's pidfd_open(), whose header C++ cannot link with.
  const UniqueFd served(static_cast<int>(::syscall(SYS_pidfd_open, parent, 0)));
  tell(kSocket, std::string(1, kReady));
  for (std::string request = receive(kSocket); !request.empty(); request = receive(kSocket)) {
    if (request[0] == kEnd) ::_exit(0);
    tell(kSocket, encode_reply(serve_request(request)));
  }
  await_end_of(served);
  if (orphaned == UnmountHelper::Orphaned::kDetaches) detach_when_dead(id, path);
  ::_exit(0);
}

}  // namespace

loop::Result<std::unique_ptr<UnmountHelper>> UnmountHelper::start(const MountId& id,
                                                                  const std::string& path,
                                                                  Orphaned orphaned) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return loop::fail(errno);
  }
  UniqueFd theirs(ends[0]);
  UniqueFd ours(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return loop::fail(errno);
  if (child == 0) {
    let_go(theirs.get());
    help(parent, id, path, orphaned);
  }
  theirs.reset();
  std::unique_ptr<UnmountHelper> helper(new UnmountHelper(std::move(ours), child));
  if (receive(helper->socket_.get()).empty()) return loop::fail(ECHILD);
  return helper;
}

UnmountHelper::~UnmountHelper() {
  // By a word and not by a signal: what kills the helper could kill others (call_filter.hpp).
  tell(socket_.get(), std::string(1, kEnd));
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Outcome<void> UnmountHelper::unmount(const std::string& path, UnmountMode mode) {
  return ask((mode == UnmountMode::kLazy ? kDetach : kUnmount) + path, path);
}

Outcome<void> UnmountHelper::detach_and_write_back(const std::string& path) {
  return ask(kDetachAndWriteBack + path, path);
}

Outcome<void> UnmountHelper::ask(const std::string& request, const std::string& path) {
  std::string reply;
  if (tell(socket_.get(), request)) reply = receive(socket_.get());
  if (!reply.empty()) return decode_reply(reply);
  return give_up(ExitCode::kSystem,
                 "cannot unmount " + quoted(path) + ": the process that was to do it has ended",
                 "try umount or fusermount3 -u");
}

}  // namespace ouro::mount_helper
