#include "mount-helper/byte_size.hpp"

#include <charconv>

namespace ouro::mount_helper {
namespace {

constexpr std::uint64_t kKiB = 1U << 10U;
constexpr std::uint64_t kMiB = 1U << 20U;

}  // namespace

std::optional<std::uint64_t> parse_byte_size(std::string_view text) {
  std::uint64_t unit = 1;
  if (text.ends_with('K') || text.ends_with('k')) unit = kKiB;
  if (text.ends_with('M') || text.ends_with('m')) unit = kMiB;
  if (unit > 1) text.remove_suffix(1);
  // 32 bits times a unit of 20 bits cannot overflow 64.
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number * unit;
}

std::string byte_size_text(std::uint64_t bytes) {
  if (bytes != 0 && bytes % kMiB == 0) return std::to_string(bytes / kMiB) + "M";
  if (bytes != 0 && bytes % kKiB == 0) return std::to_string(bytes / kKiB) + "K";
  return std::to_string(bytes);
}

}  // namespace ouro::mount_helper
