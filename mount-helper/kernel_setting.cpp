#include "mount-helper/kernel_setting.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {

loop::Result<std::uint64_t> KernelSetting::read() const {
  const loop::UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return loop::fail(errno);
  std::array<char, 32> text{};
  const ssize_t bytes = ::read(file.get(), text.data(), text.size());
  if (bytes < 0) return loop::fail(errno);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + bytes, value);
  if (parsed.ec != std::errc()) return loop::fail(EPROTO);
  return value;
}

loop::Status KernelSetting::write(std::uint64_t value) const {
  const loop::UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return loop::fail(errno);
  const std::string text = std::to_string(value);
  return loop::to_status(loop::from_libc(::write(file.get(), text.data(), text.size())));
}

}  // namespace ouro::mount_helper
