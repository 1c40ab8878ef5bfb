// Catches what libfuse would print, so that our own one-line error can carry its reason.
// libfuse has one log function per process and hands it no user data: captures must not overlap,
// and belong to the single-threaded start of a program.
#pragma once

#include <string>

namespace ouro::mount_helper {

class LibfuseLogCapture {
 public:
  LibfuseLogCapture();
  ~LibfuseLogCapture();  // gives libfuse its own log function back
  LibfuseLogCapture(const LibfuseLogCapture&) = delete;
  LibfuseLogCapture& operator=(const LibfuseLogCapture&) = delete;
  LibfuseLogCapture(LibfuseLogCapture&&) = delete;
  LibfuseLogCapture& operator=(LibfuseLogCapture&&) = delete;

  // Everything logged since construction, with libfuse's own line ends.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace ouro::mount_helper
