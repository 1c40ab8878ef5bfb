// A pipe whose ends are owned, with the few operations that tests of readiness need.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>

#include "loop/unique_fd.hpp"

namespace ouro::testing {

struct Pipe {
  // Both ends are non-blocking and close-on-exec unless `flags` says otherwise.
  Pipe() : Pipe(O_NONBLOCK | O_CLOEXEC) {}
  explicit Pipe(int flags) {
    int fds[2];
    if (::pipe2(fds, flags) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    reader.reset(fds[0]);
    writer.reset(fds[1]);
  }

  void put(std::size_t bytes = 1) const {
    const std::string data(bytes, 'x');
    if (::write(writer.get(), data.data(), bytes) != static_cast<ssize_t>(bytes)) {
      throw std::system_error(errno, std::generic_category(), "write to a pipe");
    }
  }

  // Takes one byte out; false if there is none.
  [[nodiscard]] bool take() const {
    char byte = 0;
    return ::read(reader.get(), &byte, 1) == 1;
  }

  loop::UniqueFd reader;
  loop::UniqueFd writer;
};

}  // namespace ouro::testing
