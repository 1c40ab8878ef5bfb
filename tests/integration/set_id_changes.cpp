#include "tests/integration/set_id_changes.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

#include "loop/unique_fd.hpp"
#include "tests/integration/acl.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr std::size_t kBlock = 4096;
alignas(kBlock) constinit std::array<char, kBlock> block{};

long fail_with(long negative_errno) {
  if (negative_errno >= 0) return negative_errno;
  errno = static_cast<int>(-negative_errno);
  return -1;
}

template <typename Act>
long on_open(const char* path, int flags, Act act) {
  const UniqueFd fd(::open(path, flags | O_CLOEXEC));
  return fd ? act(fd.get()) : -1;
}

long write_with(const char* path, int flags, std::size_t bytes) {
  return on_open(path, O_WRONLY | flags,
                 [&](int fd) { return ::pwrite(fd, block.data(), bytes, 0); });
}

long store(const char* path) {
  return on_open(path, O_RDWR, [](int fd) -> long {
    void* memory = ::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return -1;
    *static_cast<volatile char*>(memory) = 's';
    return ::munmap(memory, kBlock);  // close() makes the client write it back
  });
}

// Made once in a process: to end one, the kernel waits for all CPUs.
aio_context_t aio_context() {
  static const aio_context_t context = [] {
    aio_context_t made = 0;
    ::syscall(SYS_io_setup, 1, &made);
    return made;
  }();
  return context;
}

long submit_to_aio(int fd) {
  iocb request{};
  request.aio_lio_opcode = IOCB_CMD_PWRITE;
  request.aio_fildes = static_cast<std::uint32_t>(fd);
  request.aio_buf = reinterpret_cast<std::uintptr_t>(block.data());
  request.aio_nbytes = kBlock;
  std::array<iocb*, 1> requests{&request};
  io_event event{};
  if (::syscall(SYS_io_submit, aio_context(), 1, requests.data()) != 1) return -1;
  if (::syscall(SYS_io_getevents, aio_context(), 1, 1, &event, nullptr) != 1) return -1;
  return fail_with(static_cast<long>(event.res));
}

long submit_to_ring(int fd) {
  static io_uring ring{};
  static const int error = ::io_uring_queue_init(1, &ring, 0);
  if (error != 0) return fail_with(error);
  ::io_uring_prep_write(::io_uring_get_sqe(&ring), fd, block.data(), kBlock, 0);
  io_uring_cqe* cqe = nullptr;
  if (::io_uring_submit_and_wait(&ring, 1) != 1 || ::io_uring_peek_cqe(&ring, &cqe) != 0) return -1;
  const long result = cqe->res;
  ::io_uring_cqe_seen(&ring, cqe);
  return fail_with(result);
}

long splice_into(const char* path) {
  return on_open(path, O_WRONLY, [](int fd) -> long {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return -1;
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    if (::write(in.get(), block.data(), 100) != 100) return -1;
    return ::splice(out.get(), nullptr, fd, nullptr, 100, 0);
  });
}

long copy_into(const char* path) {
  return on_open(path, O_WRONLY, [](int fd) {
    return on_open(kDonor, O_RDONLY, [&](int donor) -> long {
      return ::copy_file_range(donor, nullptr, fd, nullptr, 100, 0);
    });
  });
}

long clone_into(const char* path) {
  return on_open(path, O_WRONLY, [](int fd) {
    return on_open(kDonor, O_RDONLY,
                   [&](int donor) -> long { return ::ioctl(fd, FICLONE, donor); });
  });
}

long allocate(const char* path, int mode) {
  return on_open(path, O_WRONLY, [&](int fd) -> long {
    return ::fallocate(fd, mode, kBlock / 2, kChangedFileBytes);
  });
}

long set_acl(const char* path) {
  const std::string acl =
      encode_acl({{AclEntry::kUserObj, 7}, {AclEntry::kGroupObj, 7}, {AclEntry::kOther, 7}});
  return ::setxattr(path, kAccessAcl, acl.data(), acl.size(), 0);
}

constexpr auto kSame = static_cast<uid_t>(-1);

constexpr Change kChanges[] = {
    {"write", [](const char* path) { return write_with(path, 0, 1); }},
    {"write-nothing", [](const char* path) { return write_with(path, 0, 0); }},
    {"append", [](const char* path) { return write_with(path, O_APPEND, 1); }},
    {"direct-write", [](const char* path) { return write_with(path, O_DIRECT, kBlock); }},
    {"mapped-store", store},
    {"aio-write",
     [](const char* path) { return on_open(path, O_WRONLY | O_DIRECT, submit_to_aio); }},
    {"io_uring-write", [](const char* path) { return on_open(path, O_WRONLY, submit_to_ring); }},
    {"splice", splice_into},
    {"copy_file_range", copy_into},
    {"clone", clone_into},
    {"truncate", [](const char* path) -> long { return ::truncate(path, 1); }},
    {"truncate-to-same",
     [](const char* path) -> long { return ::truncate(path, off_t{kChangedFileBytes}); }},
    {"ftruncate",
     [](const char* path) {
       return on_open(path, O_WRONLY, [](int fd) -> long { return ::ftruncate(fd, 1); });
     }},
    {"open-truncating",
     [](const char* path) { return on_open(path, O_WRONLY | O_TRUNC, [](int) { return 0L; }); }},
    {"creat", [](const char* path) -> long { return UniqueFd(::creat(path, 0600)) ? 0 : -1; }},
    {"open-only", [](const char* path) { return on_open(path, O_WRONLY, [](int) { return 0L; }); }},
    {"allocate", [](const char* path) { return allocate(path, 0); }},
    {"allocate-behind", [](const char* path) { return allocate(path, FALLOC_FL_KEEP_SIZE); }},
    {"punch",
     [](const char* path) { return allocate(path, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE); }},
    {"zero", [](const char* path) { return allocate(path, FALLOC_FL_ZERO_RANGE); }},
    {"chown", [](const char* path) -> long { return ::chown(path, 1001, kSame); }},
    {"chgrp", [](const char* path) -> long { return ::chown(path, kSame, 2000); }},
    {"chown-nothing", [](const char* path) -> long { return ::chown(path, kSame, kSame); }},
    {"chmod", [](const char* path) -> long { return ::chmod(path, 06775); }},
    {"setfacl", set_acl},
    {"touch", [](const char* path) -> long { return ::utimensat(AT_FDCWD, path, nullptr, 0); }},
};

}  // namespace

std::span<const Change> set_id_changes() {
  return kChanges;
}

}  // namespace ouro::testing
