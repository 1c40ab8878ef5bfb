#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

std::string proc_fd(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

void open_unlinked(Transcript& t) {
  make_file("a", "before");
  const int fd = ::open("a", O_RDWR);
  t.call("unlink", ::unlink("a"));
  t.fstat("unlinked", fd);
  t.value("write", ::pwrite(fd, "after!", 6, 3));
  char text[16];
  t.value("read", ::pread(fd, text, sizeof text, 0));
  EXPECT_EQ(std::string(text, 9), "befafter!");
  t.call("ftruncate", ::ftruncate(fd, 4));
  t.call("fchmod", ::fchmod(fd, 0600));
  t.call("fsync", ::fsync(fd));
  t.fstat("unlinked", fd);
  make_file("a", "another");  // has nothing to do with it
  t.value("read", ::pread(fd, text, sizeof text, 0));
  t.call("close", ::close(fd));
  t.content("a");

  ::mkdir("d", 0755);
  const int directory = ::open("d", O_RDONLY | O_DIRECTORY);
  t.call("rmdir", ::rmdir("d"));
  t.call("create in removed", ::openat(directory, "x", O_WRONLY | O_CREAT, 0600));
  t.call("look in removed", ::faccessat(directory, "x", F_OK, 0));
  t.fstat("removed", directory);
  ::close(directory);
}

void tmpfile(Transcript& t) {
  const int fd = ::open(".", O_TMPFILE | O_RDWR, 0640);
  t.call("open", fd);
  t.fstat("nameless", fd);
  t.value("write", ::write(fd, "text", 4));
  t.call("link", ::linkat(AT_FDCWD, proc_fd(fd).c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  t.fstat("named", fd);
  t.content("named");
  ::close(fd);
  const int hidden = ::open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640);
  t.call("never to be linked",
         ::linkat(AT_FDCWD, proc_fd(hidden).c_str(), AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
  ::close(hidden);
  t.call("read only", ::open(".", O_TMPFILE | O_RDONLY, 0640));
  make_file("f");
  t.call("in a file", ::open("f", O_TMPFILE | O_RDWR, 0640));
}

void fifo(Transcript& t) {
  t.call("mkfifo", ::mkfifo("p", 0644));
  t.stat("p");
  t.call("no reader", ::open("p", O_WRONLY | O_NONBLOCK));
  const int reader = ::open("p", O_RDONLY | O_NONBLOCK);
  const int writer = ::open("p", O_WRONLY | O_NONBLOCK);
  t.value("write", ::write(writer, "text", 4));
  char text[8];
  t.value("read", ::read(reader, text, sizeof text));
  ::close(reader);
  ::close(writer);
}

void socket_file(Transcript& t) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "s");
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
  t.call("bind", ::bind(server, generic, sizeof address));
  t.call("bind again", ::bind(::socket(AF_UNIX, SOCK_STREAM, 0), generic, sizeof address));
  t.stat("s");
  t.call("listen", ::listen(server, 1));
  t.call("connect", ::connect(::socket(AF_UNIX, SOCK_STREAM, 0), generic, sizeof address));
  t.call("open", ::open("s", O_RDWR));
  t.call("unlink", ::unlink("s"));
}

void device_files(Transcript& t) {
  t.call("character", ::mknod("c", S_IFCHR | 0644, ::makedev(1, 3)));
  t.call("block", ::mknod("b", S_IFBLK | 0644, ::makedev(259, 70000)));
  t.stat("c");
  struct ::stat found {};
  if (::lstat("b", &found) == 0) t.value("minor", static_cast<int>(::minor(found.st_rdev)));
  t.call("regular by mknod", ::mknod("f", S_IFREG | 0600, 0));
  t.stat("f");
  t.call("directory by mknod", ::mknod("d", S_IFDIR | 0600, 0));
  t.call("taken", ::mknod("f", S_IFIFO | 0600, 0));
}

}  // namespace

std::vector<Case> node_cases() {
  return {{"open-unlinked", open_unlinked},
          {"tmpfile", tmpfile},
          {"fifo", fifo},
          {"socket", socket_file},
          {"device-files", device_files}};
}

}  // namespace ouro::testing
