// Two connected, non-blocking UNIX stream sockets, both owned.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include "loop/unique_fd.hpp"

namespace ouro::testing {

struct SocketPair {
  SocketPair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
      throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }

  loop::UniqueFd ours;
  loop::UniqueFd theirs;
};

}  // namespace ouro::testing
