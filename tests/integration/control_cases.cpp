#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

void controls(Transcript& t) {
  make_file("f");
  const UniqueFd fd(::open("f", O_RDWR));
  int flags = 0;
  t.call("get flags", ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags));
  t.value("flags", flags & (FS_NODUMP_FL | FS_IMMUTABLE_FL | FS_APPEND_FL));
  flags |= FS_NODUMP_FL;
  t.call("set flags", ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
  flags = 0;
  t.call("get flags", ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags));
  t.value("flags", flags & (FS_NODUMP_FL | FS_IMMUTABLE_FL | FS_APPEND_FL));
  fsxattr attributes{};
  t.call("extended flags", ::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes));
  t.value("extended", static_cast<int>(attributes.fsx_xflags & FS_XFLAG_NODUMP));
  const UniqueFd directory(::open(".", O_RDONLY | O_DIRECTORY));
  t.call("of a directory", ::ioctl(directory.get(), FS_IOC_GETFLAGS, &flags));
  t.call("unknown", ::ioctl(fd.get(), _IOR('?', 99, int), &flags));
  t.call("of a terminal", ::ioctl(fd.get(), TIOCGWINSZ, &flags));
  int waiting = -1;
  t.call("bytes waiting", ::ioctl(fd.get(), FIONREAD, &waiting));
}

// A child tries to lock what its parent holds.
int lock_in_child(int (*attempt)()) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(attempt());
  int status = -1;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

struct flock range(short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

void record_locks(Transcript& t) {
  make_file("f", "0123456789");
  const UniqueFd fd(::open("f", O_RDWR));
  struct flock lock = range(F_WRLCK, 2, 4);
  t.call("lock", ::fcntl(fd.get(), F_SETLK, &lock));
  t.value("another process", lock_in_child([] {
            const int file = ::open("f", O_RDWR);
            struct flock wanted = range(F_WRLCK, 4, 4);
            return ::fcntl(file, F_SETLK, &wanted) == 0 ? 0 : errno;
          }));
  t.value("beside it", lock_in_child([] {
            const int file = ::open("f", O_RDWR);
            struct flock wanted = range(F_WRLCK, 6, 4);
            return ::fcntl(file, F_SETLK, &wanted) == 0 ? 0 : errno;
          }));
  t.value("who holds it", lock_in_child([] {
            const int file = ::open("f", O_RDWR);
            struct flock asked = range(F_RDLCK, 0, 0);
            ::fcntl(file, F_GETLK, &asked);
            return asked.l_type == F_WRLCK && asked.l_pid == ::getppid() ? 0 : 1;
          }));
  lock = range(F_UNLCK, 0, 0);
  t.call("unlock", ::fcntl(fd.get(), F_SETLK, &lock));
  lock = range(F_WRLCK, 0, 0);
  lock.l_pid = 0;
  t.call("of the open file", ::fcntl(fd.get(), F_OFD_SETLK, &lock));
  const UniqueFd reader(::open("f", O_RDONLY));
  lock = range(F_WRLCK, 0, 0);
  t.call("by a reader", ::fcntl(reader.get(), F_SETLK, &lock));
}

void whole_file_locks(Transcript& t) {
  make_file("f");
  const UniqueFd fd(::open("f", O_RDWR));
  t.call("lock", ::flock(fd.get(), LOCK_EX | LOCK_NB));
  t.value("another", lock_in_child([] {
            return ::flock(::open("f", O_RDONLY), LOCK_SH | LOCK_NB) == 0 ? 0 : errno;
          }));
  t.call("shared", ::flock(fd.get(), LOCK_SH | LOCK_NB));
  t.value("another", lock_in_child([] {
            return ::flock(::open("f", O_RDONLY), LOCK_SH | LOCK_NB) == 0 ? 0 : errno;
          }));
}

// One that has to wait gets its turn, and nobody else waits meanwhile.
void waiting_for_a_lock(Transcript& t) {
  make_file("f", "text");
  UniqueFd fd(::open("f", O_RDWR));
  struct flock lock = range(F_WRLCK, 0, 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &lock), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int file = ::open("f", O_RDWR);
    struct flock wanted = range(F_WRLCK, 0, 0);
    ::_exit(::fcntl(file, F_SETLKW, &wanted) == 0 ? 0 : errno);
  }
  ::usleep(20'000);
  t.content("f");
  lock = range(F_UNLCK, 0, 0);
  t.call("unlock", ::fcntl(fd.get(), F_SETLK, &lock));
  int status = -1;
  ::waitpid(child, &status, 0);
  t.value("its turn", status);
}

void polling(Transcript& t) {
  make_file("f", "text");
  const UniqueFd fd(::open("f", O_RDWR));
  pollfd ready{fd.get(), POLLIN | POLLOUT, 0};
  t.value("poll", ::poll(&ready, 1, 0));
  t.value("events", static_cast<int>(ready.revents));
}

void access_rights(Transcript& t) {
  make_file("f");
  ::mkdir("d", 0755);
  for (const mode_t mode : {0U, 0400U, 0200U, 0111U, 0644U, 0755U}) {
    ::chmod("f", mode);
    ::chmod("d", mode);
    for (const int wanted : {F_OK, R_OK, W_OK, X_OK, R_OK | W_OK | X_OK}) {
      const std::string what = std::to_string(mode) + "/" + std::to_string(wanted);
      t.call("file " + what, ::access("f", wanted));
      t.call("directory " + what, ::access("d", wanted));
    }
  }
  ::chmod("d", 0755);
  t.call("nonsense", ::access("f", 64));
}

}  // namespace

std::vector<Case> control_cases() {
  return {{"controls", controls},
          {"record-locks", record_locks},
          {"whole-file-locks", whole_file_locks},
          {"waiting-for-a-lock", waiting_for_a_lock},
          {"polling", polling},
          {"access-rights", access_rights}};
}

}  // namespace ouro::testing
