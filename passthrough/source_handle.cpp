#include "passthrough/source_handle.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ouro::passthrough {
namespace {

// struct file_handle of any length there is.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes = MAX_HANDLE_SZ) {
    handle().handle_bytes = static_cast<unsigned>(bytes);
  }
  [[nodiscard]] file_handle& handle() { return *reinterpret_cast<file_handle*>(storage_.data()); }
  [[nodiscard]] std::byte* bytes() { return storage_.data() + sizeof(file_handle); }

 private:
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> storage_{};
};

}  // namespace

loop::Result<SourceHandle> SourceHandle::of(int fd) {
  Buffer buffer;
  int mount = 0;
  if (::name_to_handle_at(fd, "", &buffer.handle(), &mount, AT_EMPTY_PATH) < 0) {
    return loop::fail(errno);
  }
  const std::byte* const begin = buffer.bytes();
  return SourceHandle(buffer.handle().handle_type, {begin, begin + buffer.handle().handle_bytes});
}

loop::Result<loop::UniqueFd> SourceHandle::open(int mount_fd) const {
  Buffer buffer(bytes_.size());
  buffer.handle().handle_type = type_;
  std::ranges::copy(bytes_, buffer.bytes());
  loop::UniqueFd fd(::open_by_handle_at(mount_fd, &buffer.handle(), O_PATH | O_CLOEXEC));
  if (!fd) return loop::fail(errno);
  return fd;
}

}  // namespace ouro::passthrough
