// A file in memory by which a child tells its parent lines of text.
// Made by the parent; the child writes, and the parent reads when the child has ended.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "loop/unique_fd.hpp"
#include "tests/support/process.hpp"

namespace ouro::testing {

class Blackboard {
 public:
  void write(const std::vector<std::string>& lines) const {
    for (std::string line : lines) {
      std::ranges::replace(line, '\n', '?');
      line += '\n';
      static_cast<void>(!::write(file_.get(), line.data(), line.size()));
    }
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    std::istringstream text(read_file("/proc/self/fd/" + std::to_string(file_.get())));
    std::vector<std::string> all;
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
  }

 private:
  // KERNEL: of such a file nobody locks the position, which several who write at once have in
  // common (FMODE_ATOMIC_POS), but for the end.
  static loop::UniqueFd make() {
    loop::UniqueFd file(::memfd_create("blackboard", MFD_CLOEXEC));
    static_cast<void>(::fcntl(file.get(), F_SETFL, O_APPEND));
    return file;
  }

  loop::UniqueFd file_ = make();
};

}  // namespace ouro::testing
