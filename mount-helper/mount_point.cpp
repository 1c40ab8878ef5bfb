#include "mount-helper/mount_point.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "mount-helper/libfuse_log.hpp"
#include "mount-helper/stderr_capture.hpp"

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

constexpr const char* kFuseDevice = "/dev/fuse";

// The command line that libfuse wants, made of unescaped options.
class LibfuseArguments {
 public:
  explicit LibfuseArguments(const std::vector<std::string>& options) {
    complete_ = ::fuse_opt_add_arg(&arguments_, "ourofs") == 0;
    for (const std::string& option : options) {
      complete_ = complete_ && ::fuse_opt_add_arg(&arguments_, escape(option).c_str()) == 0;
    }
  }
  ~LibfuseArguments() { ::fuse_opt_free_args(&arguments_); }
  LibfuseArguments(const LibfuseArguments&) = delete;
  LibfuseArguments& operator=(const LibfuseArguments&) = delete;
  LibfuseArguments(LibfuseArguments&&) = delete;
  LibfuseArguments& operator=(LibfuseArguments&&) = delete;

  [[nodiscard]] fuse_session* new_session() {
    const fuse_lowlevel_ops no_operations{};
    if (!complete_) return nullptr;
    return ::fuse_session_new(&arguments_, &no_operations, sizeof(no_operations), nullptr);
  }

 private:
  static std::string escape(const std::string& option) {
    std::string escaped = "-o";
    for (const char c : option) {
      if (c == ',' || c == '\\') escaped += '\\';
      escaped += c;
    }
    return escaped;
  }

  fuse_args arguments_ = FUSE_ARGS_INIT(0, nullptr);
  bool complete_ = false;
};

// libfuse and fusermount3 name themselves and the obvious before they say why.
std::string_view without_prefixes(std::string_view line) {
  constexpr std::array<std::string_view, 3> kPrefixes = {
      "fuse: ", "fusermount3: ", "mount failed: "};
  for (const std::string_view prefix : kPrefixes) {
    if (line.starts_with(prefix)) line.remove_prefix(prefix.size());
  }
  return line;
}

// The last line of what was said: the cause comes last.
std::string reason_in(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  const std::size_t line_end = text.rfind('\n');
  if (line_end != std::string_view::npos) text.remove_prefix(line_end + 1);
  text = without_prefixes(text);
  return text.empty() ? "libfuse gave no reason" : printable(text);
}

std::string hint_for(std::string_view reason) {
  struct Advice {
    std::string_view symptom;
    std::string_view hint;
  };
  constexpr std::array<Advice, 4> kAdvice = {{
      {"user_allow_other", "root can add the line 'user_allow_other' to /etc/fuse.conf"},
      {"failed to exec fusermount3", "install the package fuse3"},
      {"Operation not permitted",
       "fusermount3 must be set-user-ID root, and a container needs CAP_SYS_ADMIN to mount"},
      {"write access to mountpoint", "a user may mount only on directories that he can write to"},
  }};
  for (const Advice& advice : kAdvice) {
    if (reason.find(advice.symptom) != std::string_view::npos) return std::string(advice.hint);
  }
  return {};
}

tl::unexpected<Failure> cannot_mount(const std::string& path, const std::string& reason,
                                     std::string hint) {
  return give_up(ExitCode::kMountFailed, "cannot mount on " + quoted(path) + ": " + reason,
                 std::move(hint));
}

// libfuse's own words for these are not enough to act upon.
Outcome<void> require_fuse_device(const std::string& mountpoint) {
  const UniqueFd device(::open(kFuseDevice, O_RDWR | O_CLOEXEC));
  if (device) return {};
  const int error = errno;
  std::string hint;
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    hint = "load the module with 'modprobe fuse', or give the container the device";
  } else if (error == EACCES || error == EPERM) {
    hint = "this user may not open the device; udev makes it mode 0666";
  }
  return cannot_mount(mountpoint, std::string(kFuseDevice) + ": " + errno_text(error),
                      std::move(hint));
}

bool connection_has_ended(int channel_fd) {
  pollfd channel{channel_fd, 0, 0};
  return ::poll(&channel, 1, 0) == 1 && (channel.revents & POLLERR) != 0;
}

}  // namespace

Outcome<std::unique_ptr<MountPoint>> MountPoint::create(const MountRequest& request) {
  const std::string& path = request.mountpoint;
  if (auto ready = require_fuse_device(path); !ready) return tl::unexpected(ready.error());

  std::unique_ptr<MountPoint> mount;
  {
    const LibfuseLogCapture log;
    StderrCapture printed;  // fusermount3 and perror() inside libfuse
    LibfuseArguments arguments(request.options);
    fuse_session* session = arguments.new_session();
    const bool mounted = session != nullptr && ::fuse_session_mount(session, path.c_str()) == 0;
    if (!mounted) {
      if (session != nullptr) ::fuse_session_destroy(session);
      const std::string reason = reason_in(log.text() + printed.finish());
      return cannot_mount(path, reason, hint_for(reason));
    }
    mount.reset(new MountPoint(session, path));
  }
  if (auto known = mount->identify(); !known) {
    ::fuse_session_unmount(mount->session_);  // without an id we could not find it again
    return cannot_mount(path, errno_text(known.error().value()), {});
  }
  if (auto started = mount->start_helper(request.auto_unmount); !started) {
    ::fuse_session_unmount(mount->session_);
    return cannot_mount(path, "cannot fork: " + errno_text(started.error().value()), {});
  }
  if (auto set = mount->set_attributes(request.mount_attributes); !set) {
    return tl::unexpected(set.error());
  }
  return mount;
}

MountPoint::MountPoint(fuse_session* session, std::string path)
    : session_(session), path_(std::move(path)) {}

MountPoint::~MountPoint() {
  // In this order: with the channel closed nothing can wait for an answer that nobody will give.
  retire_session();
  // Too late for anyone to act on a failure.
  if (helper_) static_cast<void>(unmount(UnmountMode::kLazy));
}

int MountPoint::channel_fd() const {
  return session_ != nullptr ? ::fuse_session_fd(session_) : -1;
}

loop::Status MountPoint::identify() {
  OURO_TRY_ASSIGN(id_, mount_at(path_));
  OURO_TRY_ASSIGN(const auto flags,
                  loop::to_result(loop::from_libc(::fcntl(channel_fd(), F_GETFL))));
  return loop::to_status(
      loop::from_libc(::fcntl(channel_fd(), F_SETFL, static_cast<int>(flags) | O_NONBLOCK)));
}

loop::Status MountPoint::start_helper(bool auto_unmount) {
  using Orphaned = UnmountHelper::Orphaned;
  OURO_TRY_ASSIGN(helper_, UnmountHelper::start(
                               id_, path_, auto_unmount ? Orphaned::kDetaches : Orphaned::kEnds));
  return {};
}

Outcome<void> MountPoint::set_attributes(std::uint64_t attributes) const {
  if (attributes == 0) return {};
  struct mount_attr wanted {};
  wanted.attr_set = attributes;
  if (::mount_setattr(AT_FDCWD, path_.c_str(), AT_SYMLINK_NOFOLLOW, &wanted, sizeof(wanted)) == 0) {
    return {};
  }
  const int error = errno;
  return cannot_mount(path_, "options nodiratime and nosymfollow: " + errno_text(error),
                      error == EPERM ? "only root can use them" : "");
}

std::string MountPoint::reachable_path() const {
  std::string path = path_of_mount(id_, path_);
  if (path.empty()) return {};
  // Before 6.8 numbers alone tell mounts apart, and they are used again. When our connection has
  // ended, a mount with our numbers that is alive is another one.
  const bool ended = session_ == nullptr || connection_has_ended(channel_fd());
  if (id_.unique == 0 && ended && !is_dead(path)) return {};
  return path;
}

bool MountPoint::is_mounted() const {
  return !reachable_path().empty();
}

Outcome<void> MountPoint::unmount(UnmountMode mode) {
  const std::string path = reachable_path();
  if (path.empty()) return {};
  auto unmounted = helper_->unmount(path, mode);
  return unmounted || !is_mounted() ? Outcome<void>() : unmounted;  // someone may have been faster
}

Outcome<void> MountPoint::detach_and_write_back() {
  const std::string path = reachable_path();
  if (path.empty()) return {};
  auto detached = helper_->detach_and_write_back(path);
  return detached || !is_mounted() ? Outcome<void>() : detached;
}

// fuse_session_unmount() frees the session's path, but on a live channel it would also detach the
// topmost mount at that path, which may be another one by now. It leaves the path alone when its fd
// polls as POLLERR, as a pipe without a reader does.
void MountPoint::retire_session() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) == 0) {
    UniqueFd(ends[0]).reset();
    const UniqueFd broken_pipe(ends[1]);
    if (::dup3(broken_pipe.get(), channel_fd(), O_CLOEXEC) >= 0) ::fuse_session_unmount(session_);
  }
  ::fuse_session_destroy(session_);
  session_ = nullptr;
}

loop::Result<UniqueFd> clone_channel(int channel_fd) {
  UniqueFd clone(::open(kFuseDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!clone) return loop::fail(errno);
  auto original = static_cast<std::uint32_t>(channel_fd);
  OURO_TRY(loop::to_status(loop::from_libc(::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &original))));
  return clone;
}

}  // namespace ouro::mount_helper
