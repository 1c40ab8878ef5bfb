// A passthrough tree backed by a fresh directory, which goes away with it. As in the program, the
// process has no umask of its own meanwhile.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>

#include "passthrough/tree.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::fs {

struct TemporaryTree {
  TemporaryTree() : former_umask(::umask(0)) {}
  TemporaryTree(const TemporaryTree&) = delete;
  TemporaryTree& operator=(const TemporaryTree&) = delete;
  ~TemporaryTree() { ::umask(former_umask); }

  const mode_t former_umask;
  testing::TempDir directory;
  passthrough::ProcessIdentity identity = passthrough::ProcessIdentity::take().value();
  std::unique_ptr<passthrough::Tree> tree =
      passthrough::Tree::create(
          loop::UniqueFd(::open(directory.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
          {.gives_files = true})
          .value();

  void put_file(const std::string& name, const std::string& content = {}) const {
    std::ofstream(directory / name, std::ios::binary) << content;
  }
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ifstream file(directory / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

}  // namespace ouro::fs
