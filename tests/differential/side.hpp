// One of the two sides, as a worker sees it: the root of the running sequence and the descriptors
// opened below it. Calls use paths relative to that root, so that both sides see the same text.
// Owned by a worker process, used by its only thread.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "loop/unique_fd.hpp"

namespace ouro::differential {

inline constexpr int kSlots = 8;
inline constexpr int kCurrentDirectory = -1;  // the "cwd" of a directory slot argument

class Side {
 public:
  // Starts a sequence below `root`: forgets every descriptor of the one before.
  void begin(loop::UniqueFd root);
  void end();

  // Makes the root the working directory; before every call. 0, or -1 and errno: a user whom some
  // chmod has locked out of the root can do nothing there.
  [[nodiscard]] int enter() const { return ::fchdir(root_.get()); }

  // The descriptor in a slot, -1 (and so EBADF) when it is empty.
  [[nodiscard]] int fd(std::int64_t slot) const;
  // The same for a directory argument: AT_FDCWD for kCurrentDirectory.
  [[nodiscard]] int directory(std::int64_t slot) const;
  void put(std::int64_t slot, int fd);
  // The result of close(2), -1 and EBADF for an empty slot.
  int close(std::int64_t slot);

  [[nodiscard]] std::uint64_t root_device() const { return root_device_; }

 private:
  loop::UniqueFd root_;
  std::uint64_t root_device_ = 0;
  std::array<loop::UniqueFd, kSlots> slots_;
};

// The path meant by the text of a call: "@255" is a name of 255 bytes, "@path4096" a path of 4096
// bytes that leads to f0; everything else stands for itself.
[[nodiscard]] std::string expand_path(const std::string& text);

}  // namespace ouro::differential
