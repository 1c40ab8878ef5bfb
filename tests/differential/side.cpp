#include "tests/differential/side.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace ouro::differential {
namespace {

constexpr std::string_view kPathMark = "@path";
constexpr std::string_view kLongPathTarget = "f0";

std::size_t parse_size(std::string_view digits) {
  std::size_t size = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), size);
  return size;
}

std::string long_path(std::size_t size) {
  return "." + std::string(size - 1 - kLongPathTarget.size(), '/') + std::string(kLongPathTarget);
}

}  // namespace

void Side::begin(loop::UniqueFd root) {
  end();
  root_ = std::move(root);
  struct stat attributes {};
  if (::fstat(root_.get(), &attributes) == 0) root_device_ = attributes.st_dev;
}

void Side::end() {
  for (loop::UniqueFd& slot : slots_) slot.reset();
  if (::chdir("/") != 0) std::abort();
  root_.reset();
}

int Side::fd(std::int64_t slot) const {
  return slots_.at(static_cast<std::size_t>(slot)).get();
}

int Side::directory(std::int64_t slot) const {
  return slot == kCurrentDirectory ? AT_FDCWD : fd(slot);
}

void Side::put(std::int64_t slot, int fd) {
  slots_.at(static_cast<std::size_t>(slot)).reset(fd);
}

int Side::close(std::int64_t slot) {
  return ::close(slots_.at(static_cast<std::size_t>(slot)).release());
}

std::string expand_path(const std::string& text) {
  if (text.substr(0, kPathMark.size()) == kPathMark) {
    return long_path(parse_size(std::string_view(text).substr(kPathMark.size())));
  }
  const std::size_t mark = text.find('@');
  if (mark == std::string::npos) return text;
  return text.substr(0, mark) +
         std::string(parse_size(std::string_view(text).substr(mark + 1)), 'n');
}

}  // namespace ouro::differential
