// Just enough of a FUSE server for a mount to be looked at: answers INIT and GETATTR of the root
// on a thread of its own, everything else with ENOSYS, until the connection ends.
#pragma once

#include <linux/fuse.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

namespace ouro::mount_helper {

class TinyServer {
 public:
  explicit TinyServer(int channel_fd) : fd_(channel_fd), thread_([this] { serve(); }) {}
  // The connection must have ended: by an unmount that nobody delays.
  ~TinyServer() { thread_.join(); }
  TinyServer(const TinyServer&) = delete;
  TinyServer& operator=(const TinyServer&) = delete;
  TinyServer(TinyServer&&) = delete;
  TinyServer& operator=(TinyServer&&) = delete;

 private:
  void serve() {
    std::vector<char> buffer(1U << 21U);
    while (true) {
      pollfd ready{fd_, POLLIN, 0};
      ::poll(&ready, 1, -1);
      const ssize_t length = ::read(fd_, buffer.data(), buffer.size());
      if (length < 0 && errno == ENODEV) return;
      if (length > 0) answer(*reinterpret_cast<const fuse_in_header*>(buffer.data()));
    }
  }

  void answer(const fuse_in_header& request) const {
    if (request.opcode == FUSE_FORGET || request.opcode == FUSE_BATCH_FORGET) return;
    if (request.opcode == FUSE_INIT) {
      fuse_init_out init{};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = FUSE_KERNEL_MINOR_VERSION;
      init.max_write = 4096;
      return reply(request.unique, 0, &init, sizeof(init));
    }
    if (request.opcode == FUSE_GETATTR) {
      fuse_attr_out attributes{};
      attributes.attr.ino = 1;
      attributes.attr.mode = S_IFDIR | 0755;
      attributes.attr.nlink = 2;
      return reply(request.unique, 0, &attributes, sizeof(attributes));
    }
    reply(request.unique, -ENOSYS, nullptr, 0);
  }

  void reply(std::uint64_t unique, int error, void* payload, std::size_t size) const {
    fuse_out_header header{};
    header.len = static_cast<std::uint32_t>(sizeof(header) + size);
    header.error = error;
    header.unique = unique;
    const std::array<iovec, 2> parts = {{{&header, sizeof(header)}, {payload, size}}};
    // ENOENT for a request that was interrupted, ENODEV at the end: nothing to do about either.
    static_cast<void>(!::writev(fd_, parts.data(), size > 0 ? 2 : 1));
  }

  int fd_;
  std::thread thread_;
};

}  // namespace ouro::mount_helper
