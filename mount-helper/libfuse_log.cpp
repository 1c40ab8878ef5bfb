#include "mount-helper/libfuse_log.hpp"

#include <cstdarg>
#include <cstdio>

#include <fuse3/fuse_log.h>

#include "loop/invariant.hpp"

namespace ouro::mount_helper {
namespace {

// The C callback carries no pointer of ours, hence the one static of this program.
std::string* current_text = nullptr;

void append_message(enum fuse_log_level /*level*/, const char* format, va_list arguments) {
  char line[1024];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length > 0 && current_text != nullptr) current_text->append(line);
}

}  // namespace

LibfuseLogCapture::LibfuseLogCapture() {
  loop::invariant(current_text == nullptr, "two captures of libfuse's log overlap");
  current_text = &text_;
  ::fuse_set_log_func(append_message);
}

LibfuseLogCapture::~LibfuseLogCapture() {
  ::fuse_set_log_func(nullptr);
  current_text = nullptr;
}

}  // namespace ouro::mount_helper
