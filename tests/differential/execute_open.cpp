// Executors of calls that make, duplicate, close or lock descriptors.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/differential/call.hpp"
#include "tests/differential/executors.hpp"
#include "tests/differential/outcome.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

// Without O_NONBLOCK the open of a FIFO would wait for ever.
constexpr int kAlwaysFlags = O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

std::string descriptor_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

// Takes the new descriptor into the slot, in place of the old one. A call that fails leaves the
// slot as it is.
void keep(Side& side, const Call& call, Outcome& outcome, int fd) {
  if (!outcome.finish_quietly(fd)) return;
  side.put(call.number("slot"), fd);
}

struct flock lock_of(const Call& call) {
  struct flock lock {};
  lock.l_type = static_cast<std::int16_t>(call.number("type"));
  lock.l_whence = SEEK_SET;
  lock.l_start = call.number("start");
  lock.l_len = call.number("length");
  return lock;
}

std::string owner_name(pid_t pid) {
  if (pid == ::getpid()) return "self";
  return pid > 0 ? "other" : std::to_string(pid);
}

}  // namespace

void execute_openat(Side& side, const Call& call, Outcome& outcome) {
  const int fd =
      ::openat(side.directory(call.number("dir")), expand_path(call.text("path")).c_str(),
               static_cast<int>(call.number("flags")) | kAlwaysFlags,
               static_cast<mode_t>(call.number("mode")));
  keep(side, call, outcome, fd);
}

void execute_reopen(Side& side, const Call& call, Outcome& outcome) {
  const int fd = ::open(descriptor_path(side.fd(call.number("from"))).c_str(),
                        static_cast<int>(call.number("flags")) | kAlwaysFlags, 0644);
  keep(side, call, outcome, fd);
}

void execute_close(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(side.close(call.number("slot")));
}

void execute_dup(Side& side, const Call& call, Outcome& outcome) {
  keep(side, call, outcome, ::fcntl(side.fd(call.number("from")), F_DUPFD_CLOEXEC, 0));
}

void execute_getfl(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fcntl(side.fd(call.number("slot")), F_GETFL));
}

void execute_setfl(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fcntl(side.fd(call.number("slot")), F_SETFL,
                         static_cast<int>(call.number("flags")) | O_NONBLOCK));
}

void execute_link_fd(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::linkat(AT_FDCWD, descriptor_path(side.fd(call.number("slot"))).c_str(), AT_FDCWD,
                          expand_path(call.text("path")).c_str(), AT_SYMLINK_FOLLOW));
}

void execute_flock(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(
      ::flock(side.fd(call.number("slot")), static_cast<int>(call.number("operation")) | LOCK_NB));
}

void execute_setlk(Side& side, const Call& call, Outcome& outcome) {
  struct flock lock = lock_of(call);
  outcome.finish(
      ::fcntl(side.fd(call.number("slot")), static_cast<int>(call.number("command")), &lock));
}

void execute_getlk(Side& side, const Call& call, Outcome& outcome) {
  struct flock lock = lock_of(call);
  if (!outcome.finish(::fcntl(side.fd(call.number("slot")), F_GETLK, &lock))) return;
  outcome.number("lock_type", lock.l_type);
  if (lock.l_type == F_UNLCK) return;
  outcome.text("owner", owner_name(lock.l_pid));
  outcome.number("start", lock.l_start);
  outcome.number("length", lock.l_len);
}

void execute_ioctl(Side& side, const Call& call, Outcome& outcome) {
  // Wide enough for the answer of every request in the table (struct fsxattr is 28 bytes).
  union {
    unsigned long flags;
    int count;
    fsxattr attributes;
  } answer{};
  const auto request = static_cast<unsigned long>(call.number("request"));
  if (!outcome.finish(::ioctl(side.fd(call.number("slot")), request, &answer))) return;
  if (request == FS_IOC_FSGETXATTR) {
    outcome.number("xflags", answer.attributes.fsx_xflags);
    outcome.number("project", answer.attributes.fsx_projid);
  } else {
    outcome.number("answer", answer.count);
  }
}

}  // namespace ouro::differential
