#include "passthrough/syscalls.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>

#include "loop/uring_abi.hpp"

namespace ouro::passthrough {
namespace {

using loop::from_libc;
using loop::KernelResult;

// Of an operation that may always block.
struct NoTry {
  std::optional<KernelResult> operator()() const { return std::nullopt; }
};

// An operation made of functions that all name the same arguments: `Prepare(io_uring_sqe*)`,
// `Call()`, and `Try()` for try_call().
template <typename Prepare, typename Call, typename Try>
class FacedOp final : public SyncOp {
 public:
  FacedOp(std::uint8_t opcode, Prepare prepare, Call call, Try try_call)
      : opcode_(opcode),
        prepare_(std::move(prepare)),
        call_(std::move(call)),
        try_call_(std::move(try_call)) {}

  [[nodiscard]] std::uint8_t opcode() const override { return opcode_; }
  void prepare(io_uring_sqe& sqe) override { prepare_(&sqe); }
  [[nodiscard]] KernelResult call() override { return from_libc(call_()); }
  [[nodiscard]] std::optional<KernelResult> try_call() override { return try_call_(); }

 private:
  const std::uint8_t opcode_;
  Prepare prepare_;
  Call call_;
  Try try_call_;
};

template <typename Prepare, typename Call, typename Try = NoTry>
KernelResult run(Executor& executor, std::uint8_t opcode, const Credentials* credentials,
                 Prepare prepare, Call call, Try try_call = {}) {
  FacedOp op(opcode, std::move(prepare), std::move(call), std::move(try_call));
  op.credentials = credentials;
  return executor.wait(op);
}

// KERNEL(5.12): by RESOLVE_CACHED the path is followed in memory alone, or the answer is EAGAIN. To
// open what is found can block all the same (leases, fanotify), but not for O_PATH.
std::optional<KernelResult> try_openat2(int dir_fd, const char* path, open_how how) {
  if ((how.flags & O_PATH) == 0) return std::nullopt;
  how.resolve |= RESOLVE_CACHED;
  const KernelResult result = from_libc(::syscall(SYS_openat2, dir_fd, path, &how, sizeof how));
  // EINVAL: of a kernel that does not know it.
  return result == -EAGAIN || result == -EINVAL ? std::nullopt : std::optional(result);
}

char* as_text(std::byte* bytes) {
  return reinterpret_cast<char*>(bytes);
}
const char* as_text(const std::byte* bytes) {
  return reinterpret_cast<const char*>(bytes);
}

}  // namespace

ProcPath::ProcPath(int fd) {
  std::snprintf(text_, sizeof text_, "%s%d", kDirectory, fd);
}

namespace sys {

KernelResult openat2(Executor& executor, int dir_fd, const char* path, const open_how& how,
                     const Credentials* credentials) {
  open_how mutable_how = how;
  return run(
      executor, IORING_OP_OPENAT2, credentials,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_openat2(sqe, dir_fd, path, &mutable_how); },
      [&] { return ::syscall(SYS_openat2, dir_fd, path, &mutable_how, sizeof mutable_how); },
      [&] { return try_openat2(dir_fd, path, how); });
}

KernelResult statx(Executor& executor, int fd, unsigned flags, unsigned mask, struct ::statx& out) {
  const int all_flags = static_cast<int>(flags) | AT_EMPTY_PATH;
  return run(
      executor, IORING_OP_STATX, nullptr,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_statx(sqe, fd, "", all_flags, mask, &out); },
      [&] { return ::statx(fd, "", all_flags, mask, &out); },
      [&] {
        const int cached_flags = (all_flags & ~AT_STATX_SYNC_TYPE) | AT_STATX_DONT_SYNC;
        return std::optional(from_libc(::statx(fd, "", cached_flags, mask, &out)));
      });
}

KernelResult mkdirat(Executor& executor, int dir_fd, const char* name, mode_t mode,
                     const Credentials* credentials) {
  return run(
      executor, IORING_OP_MKDIRAT, credentials,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_mkdirat(sqe, dir_fd, name, mode); },
      [&] { return ::mkdirat(dir_fd, name, mode); });
}

KernelResult mknodat(Executor& executor, int dir_fd, const char* name, mode_t mode, dev_t device,
                     const Credentials* credentials) {
  return executor.call(credentials,
                       [&] { return from_libc(::mknodat(dir_fd, name, mode, device)); });
}

KernelResult symlinkat(Executor& executor, const char* target, int dir_fd, const char* name,
                       const Credentials* credentials) {
  return run(
      executor, IORING_OP_SYMLINKAT, credentials,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_symlinkat(sqe, target, dir_fd, name); },
      [&] { return ::symlinkat(target, dir_fd, name); });
}

KernelResult link_fd(Executor& executor, int fd, int new_dir_fd, const char* new_name,
                     const Credentials* credentials) {
  // By way of /proc, because AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH.
  const ProcPath old_path(fd);
  return run(
      executor, IORING_OP_LINKAT, credentials,
      [&](io_uring_sqe* sqe) {
        ::io_uring_prep_linkat(sqe, AT_FDCWD, old_path.c_str(), new_dir_fd, new_name,
                               AT_SYMLINK_FOLLOW);
      },
      [&] {
        return ::linkat(AT_FDCWD, old_path.c_str(), new_dir_fd, new_name, AT_SYMLINK_FOLLOW);
      });
}

KernelResult unlinkat(Executor& executor, int dir_fd, const char* name, int flags) {
  return run(
      executor, IORING_OP_UNLINKAT, nullptr,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_unlinkat(sqe, dir_fd, name, flags); },
      [&] { return ::unlinkat(dir_fd, name, flags); });
}

KernelResult renameat2(Executor& executor, int dir_fd, const char* name, int new_dir_fd,
                       const char* new_name, unsigned flags, const Credentials* credentials) {
  return run(
      executor, IORING_OP_RENAMEAT, credentials,
      [&](io_uring_sqe* sqe) {
        ::io_uring_prep_renameat(sqe, dir_fd, name, new_dir_fd, new_name, flags);
      },
      [&] { return ::renameat2(dir_fd, name, new_dir_fd, new_name, flags); });
}

KernelResult readlinkat(Executor& executor, int fd, std::span<std::byte> out) {
  return executor.call(
      [&] { return from_libc(::readlinkat(fd, "", as_text(out.data()), out.size())); });
}

KernelResult fsync(Executor& executor, int fd, unsigned flags) {
  return run(
      executor, IORING_OP_FSYNC, nullptr,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_fsync(sqe, fd, flags); },
      [&] { return (flags & IORING_FSYNC_DATASYNC) != 0 ? ::fdatasync(fd) : ::fsync(fd); });
}

KernelResult fallocate(Executor& executor, int fd, int mode, std::int64_t offset,
                       std::int64_t length, const Credentials* credentials) {
  return run(
      executor, IORING_OP_FALLOCATE, credentials,
      [&](io_uring_sqe* sqe) { ::io_uring_prep_fallocate(sqe, fd, mode, offset, length); },
      [&] { return ::fallocate(fd, mode, offset, length); });
}

KernelResult ftruncate(Executor& executor, int fd, std::int64_t size,
                       const Credentials* credentials) {
  return run(
      executor, loop::abi::kOpFtruncate, credentials,
      [&](io_uring_sqe* sqe) {
        sqe->opcode = loop::abi::kOpFtruncate;
        sqe->fd = fd;
        sqe->off = static_cast<std::uint64_t>(size);
      },
      [&] { return ::ftruncate(fd, size); });
}

KernelResult getxattr(Executor& executor, int fd, const char* name, std::span<std::byte> out) {
  const ProcPath path(fd);
  return run(
      executor, IORING_OP_GETXATTR, nullptr,
      [&](io_uring_sqe* sqe) {
        ::io_uring_prep_getxattr(sqe, name, as_text(out.data()), path.c_str(),
                                 static_cast<unsigned>(out.size()));
      },
      [&] { return ::getxattr(path.c_str(), name, out.data(), out.size()); });
}

KernelResult setxattr(Executor& executor, int fd, const char* name,
                      std::span<const std::byte> value, int flags, const Credentials* credentials) {
  const ProcPath path(fd);
  return run(
      executor, IORING_OP_SETXATTR, credentials,
      [&](io_uring_sqe* sqe) {
        ::io_uring_prep_setxattr(sqe, name, as_text(value.data()), path.c_str(), flags,
                                 static_cast<unsigned>(value.size()));
      },
      [&] { return ::setxattr(path.c_str(), name, value.data(), value.size(), flags); });
}

KernelResult listxattr(Executor& executor, int fd, std::span<std::byte> out) {
  const ProcPath path(fd);
  return executor.call(
      [&] { return from_libc(::listxattr(path.c_str(), as_text(out.data()), out.size())); });
}

KernelResult removexattr(Executor& executor, int fd, const char* name) {
  const ProcPath path(fd);
  return executor.call([&] { return from_libc(::removexattr(path.c_str(), name)); });
}

}  // namespace sys
}  // namespace ouro::passthrough
