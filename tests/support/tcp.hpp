// TCP over the loopback: a listener on a free port, and its clients.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "loop/unique_fd.hpp"

namespace ouro::testing {

class TcpListener {
 public:
  TcpListener() {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    check(::bind(fd_.get(), as_sockaddr(), size), "bind");
    check(::listen(fd_.get(), SOMAXCONN), "listen");
    check(::getsockname(fd_.get(), as_sockaddr(), &size), "getsockname");
  }

  [[nodiscard]] int fd() const { return fd_.get(); }

  // A client whose connection waits to be accepted.
  [[nodiscard]] loop::UniqueFd connect() {
    loop::UniqueFd client = create_socket();
    check(::connect(client.get(), as_sockaddr(), sizeof address_), "connect");
    return client;
  }

  // The other end of the oldest connection that waits.
  [[nodiscard]] loop::UniqueFd accept() const {
    loop::UniqueFd server(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    check(server.get(), "accept");
    return server;
  }

 private:
  static void check(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
  }
  [[nodiscard]] static loop::UniqueFd create_socket() {
    loop::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check(fd.get(), "socket");
    return fd;
  }
  [[nodiscard]] sockaddr* as_sockaddr() { return reinterpret_cast<sockaddr*>(&address_); }

  const loop::UniqueFd fd_ = create_socket();
  sockaddr_in address_{};
};

}  // namespace ouro::testing
