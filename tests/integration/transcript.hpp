// Native as the oracle: what a piece of code sees when it calls the kernel, as lines of text, and
// the comparison of such a transcript from a native directory with one from a mount.
// A transcript is written in a child and read by its parent.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <concepts>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/mounted.hpp"

namespace ouro::testing {

class Transcript {
 public:
  // Which of the two runs this is.
  enum class Side : std::uint8_t { kNative, kMount };
  explicit Transcript(Side side) : side_(side) {}

  [[nodiscard]] Side side() const { return side_; }
  // Notes the outcome of a system call: "ok", or the name of errno. Returns `result`.
  template <std::signed_integral T>
  T call(const std::string& what, T result) {
    note(what, result < 0 ? error_name(errno) : "ok");
    return result;
  }
  // The same with the value, where that must be equal.
  template <std::signed_integral T>
  T value(const std::string& what, T result) {
    note(what, result < 0 ? error_name(errno) : std::to_string(result));
    return result;
  }
  void note(const std::string& what, const std::string& fact);
  // Type, mode, owner, links, size and such of a file; what may differ between two file systems
  // (inode numbers, blocks, times of now) is left out.
  void stat(const std::string& path);
  void fstat(const std::string& what, int fd);
  // `size` and a checksum of the content.
  void content(const std::string& path);

  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  // Takes over what a child has written down.
  void append(const std::vector<std::string>& lines) {
    lines_.insert(lines_.end(), lines.begin(), lines.end());
  }

  [[nodiscard]] static std::string error_name(int error);

 private:
  void attributes(const std::string& what, int result, const struct ::stat& found);

  Side side_;
  std::vector<std::string> lines_;
};

// A piece of code that works in its current directory, which is fresh and empty.
struct Case {
  const char* name;
  void (*body)(Transcript&);
};

// Runs the cases natively and through the mount, each in a child of its own, and fails the test
// where a transcript, or the tree that a case leaves behind, is not the same.
void compare_with_native(const Mounted& mounted, const std::vector<Case>& cases);

// Every file below `root` as lines: path, type, mode, owner, links, size, target, extended
// attributes, checksum.
[[nodiscard]] std::vector<std::string> describe_tree(const std::filesystem::path& root);

}  // namespace ouro::testing
