#include "mount-helper/stderr_capture.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace ouro::mount_helper {

StderrCapture::StderrCapture()
    : saved_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)),
      memory_(::memfd_create("stderr", MFD_CLOEXEC)) {
  // Without memory or descriptors the text goes where it always went.
  if (!saved_ || !memory_ || ::dup2(memory_.get(), STDERR_FILENO) < 0) saved_.reset();
}

std::string StderrCapture::finish() {
  if (!saved_) return {};
  ::dup2(saved_.get(), STDERR_FILENO);
  saved_.reset();
  std::string text(4096, '\0');
  const ssize_t length = ::pread(memory_.get(), text.data(), text.size(), 0);
  text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return text;
}

}  // namespace ouro::mount_helper
