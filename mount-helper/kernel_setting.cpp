#include "mount-helper/kernel_setting.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

namespace ouro::mount_helper {

loop::Result<loop::UniqueFd> KernelSetting::open(int flags) const {
  loop::UniqueFd file(::openat(directory_, path_.c_str(), flags | O_CLOEXEC));
  if (!file) return loop::fail(errno == EBADF ? ENOENT : errno);  // not even the directory is there
  return file;
}

loop::Result<std::uint64_t> KernelSetting::read() const {
  OURO_TRY_ASSIGN(const loop::UniqueFd file, open(O_RDONLY));
  std::array<char, 32> text{};
  const ssize_t bytes = ::read(file.get(), text.data(), text.size());
  if (bytes < 0) return loop::fail(errno);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + bytes, value);
  if (parsed.ec != std::errc()) return loop::fail(EPROTO);
  return value;
}

loop::Status KernelSetting::write(std::uint64_t value) const {
  OURO_TRY_ASSIGN(const loop::UniqueFd file, open(O_WRONLY));
  const std::string text = std::to_string(value);
  return loop::to_status(loop::from_libc(::write(file.get(), text.data(), text.size())));
}

}  // namespace ouro::mount_helper
