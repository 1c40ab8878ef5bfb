// Numbers of bytes as options have them and as messages show them: 4096, 128K, 4M.
// Plain functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ouro::mount_helper {

// The whole of `text`, below 2^32 before the suffix (K or M, of either case), or nothing.
[[nodiscard]] std::optional<std::uint64_t> parse_byte_size(std::string_view text);

// In the largest unit of which there is a whole number.
[[nodiscard]] std::string byte_size_text(std::uint64_t bytes);

}  // namespace ouro::mount_helper
