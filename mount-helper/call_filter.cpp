#include "mount-helper/call_filter.hpp"

#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <type_traits>

#include <asm/ioctls.h>

#include "passthrough/allowed_ioctls.hpp"

namespace ouro::mount_helper {
namespace {

using Filter = std::remove_pointer_t<scmp_filter_ctx>;

// Each with any arguments. Where there are several of a kind, libraries differ in which they use.
constexpr int kAllowed[] = {
    // Data.
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(preadv2),
    SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
    SCMP_SYS(lseek), SCMP_SYS(copy_file_range), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
    SCMP_SYS(fallocate), SCMP_SYS(truncate), SCMP_SYS(ftruncate),
    // Names and attributes.
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_by_handle_at), SCMP_SYS(getdents64), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
    SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(mkdirat), SCMP_SYS(mknodat), SCMP_SYS(symlinkat), SCMP_SYS(linkat), SCMP_SYS(unlinkat),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(fchown),
    SCMP_SYS(fchownat), SCMP_SYS(utimensat), SCMP_SYS(getxattr), SCMP_SYS(fgetxattr),
    SCMP_SYS(setxattr), SCMP_SYS(fsetxattr), SCMP_SYS(listxattr), SCMP_SYS(flistxattr),
    SCMP_SYS(removexattr), SCMP_SYS(fremovexattr),
    // Descriptors, and waiting for them.
    SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(flock),
    SCMP_SYS(pipe2), SCMP_SYS(eventfd2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register), SCMP_SYS(sendto), SCMP_SYS(timerfd_settime),
    // Identities.
    SCMP_SYS(setfsuid), SCMP_SYS(setfsgid), SCMP_SYS(setgroups), SCMP_SYS(capget), SCMP_SYS(capset),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getpid),
    SCMP_SYS(getppid), SCMP_SYS(gettid),
    // Memory and threads, as the C library does these. (mmap, mprotect, clone: below.)
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity), SCMP_SYS(getcpu), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(getrandom), SCMP_SYS(uname),
    SCMP_SYS(sysinfo), SCMP_SYS(getrlimit),
    // The end.
    SCMP_SYS(wait4)};

class Builder {
 public:
  explicit Builder(Filter* filter) : filter_(filter) {}

  void attribute(scmp_filter_attr name, std::uint32_t value) {
    note(::seccomp_attr_set(filter_, name, value));
  }
  template <typename... Conditions>
  void allow(int call, Conditions... conditions) {
    note(::seccomp_rule_add(filter_, SCMP_ACT_ALLOW, call, sizeof...(conditions), conditions...));
  }
  void deny(int call) { note(::seccomp_rule_add(filter_, SCMP_ACT_ERRNO(ENOSYS), call, 0)); }
  // libseccomp's own result, or the first error: 0 or -errno.
  [[nodiscard]] int load() { return error_ != 0 ? error_ : ::seccomp_load(filter_); }

 private:
  void note(int result) {
    if (error_ == 0 && result < 0) error_ = result;
  }

  Filter* const filter_;
  int error_ = 0;
};

// Calls of which only some uses are allowed.
void allow_by_argument(Builder& filter, const std::vector<unsigned long>& ioctls) {
  const auto without = [](unsigned argument, std::uint64_t bits) {
    return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, bits, 0};
  };
  // No memory becomes code.
  filter.allow(SCMP_SYS(mmap), without(2, PROT_EXEC));
  filter.allow(SCMP_SYS(mprotect), without(2, PROT_EXEC));
  // Threads, and no processes.
  filter.allow(SCMP_SYS(clone), scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD});
  // Limits are read and not set.
  filter.allow(SCMP_SYS(prlimit64), scmp_arg_cmp{0, SCMP_CMP_EQ, 0, 0},
               scmp_arg_cmp{2, SCMP_CMP_EQ, 0, 0});
  // Names for memory, which newer C libraries give to theirs.
  filter.allow(SCMP_SYS(prctl), scmp_arg_cmp{0, SCMP_CMP_EQ, PR_SET_VMA, 0});
  // abort() of our own.
  filter.allow(SCMP_SYS(tgkill),
               scmp_arg_cmp{0, SCMP_CMP_EQ, static_cast<std::uint64_t>(::getpid()), 0});
  // What stdio asks of its descriptors, and what the mount serves.
  filter.allow(SCMP_SYS(ioctl), scmp_arg_cmp{1, SCMP_CMP_EQ, TCGETS, 0});
  for (const passthrough::AllowedIoctl& allowed : passthrough::kAllowedIoctls) {
    filter.allow(SCMP_SYS(ioctl), scmp_arg_cmp{1, SCMP_CMP_EQ, allowed.command, 0});
  }
  for (const unsigned long command : ioctls) {
    filter.allow(SCMP_SYS(ioctl), scmp_arg_cmp{1, SCMP_CMP_EQ, command, 0});
  }
}

// What a C library tries first and can do without: clone3(), whose flags a filter cannot see, and
// what is newer than this list. Numbers are the same on every machine from 424 on.
void deny_what_is_new(Builder& filter) {
  constexpr int kFirstUnknown = 451;  // after set_mempolicy_home_node of Linux 5.17
  constexpr int kEnd = 512;           // x32 begins
  filter.deny(SCMP_SYS(clone3));
  for (int call = kFirstUnknown; call < kEnd; ++call) filter.deny(call);
}

}  // namespace

loop::Status filter_calls(const std::vector<unsigned long>& ioctls) {
  // A call that nobody foresaw would come back with an error that may be taken for the source's,
  // and go unnoticed by everybody but whoever made it on purpose. So it ends the process, and the
  // kernel logs which one it was.
  const std::unique_ptr<Filter, decltype(&::seccomp_release)> filter(
      ::seccomp_init(SCMP_ACT_KILL_PROCESS), &::seccomp_release);
  if (!filter) return loop::fail(ENOMEM);
  Builder builder(filter.get());
  builder.attribute(SCMP_FLTATR_CTL_TSYNC, 1);
  builder.attribute(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree: few comparisons for each call
  for (const int call : kAllowed) builder.allow(call);
  allow_by_argument(builder, ioctls);
  deny_what_is_new(builder);
  return loop::to_status(builder.load());
}

std::string libseccomp_version() {
  const scmp_version* const version = ::seccomp_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->micro);
}

}  // namespace ouro::mount_helper
