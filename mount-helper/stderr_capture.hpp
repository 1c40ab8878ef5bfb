// Catches what libraries and their children print on stderr while it lives.
// Redirects the descriptor of the whole process: for its single-threaded start only.
#pragma once

#include <string>

#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {

class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture() { static_cast<void>(finish()); }
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;
  StderrCapture(StderrCapture&&) = delete;
  StderrCapture& operator=(StderrCapture&&) = delete;

  // Gives stderr back and returns what was printed meanwhile (its first 4 KiB).
  [[nodiscard]] std::string finish();

 private:
  loop::UniqueFd saved_;
  loop::UniqueFd memory_;
};

}  // namespace ouro::mount_helper
