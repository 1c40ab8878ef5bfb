// Small tools of the cases: files with a content that can be checked byte by byte.
// They fail the test by themselves, so that a case reads straight on.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ouro::testing {

// A new file, with that content.
void make_file(const std::string& path, const std::string& content = {});
void append_to(const std::string& path, const std::string& content);
[[nodiscard]] ino_t inode_of(const std::string& path);

// What chattr does: FS_APPEND_FL and FS_IMMUTABLE_FL as in `protection`; 0 takes both away.
// Negative, with errno, if it failed.
[[nodiscard]] int set_protection(const std::string& path, int protection);

// Bytes that differ from position to position and from seed to seed.
[[nodiscard]] std::vector<char> pattern(std::size_t bytes, std::uint64_t position,
                                        std::uint64_t seed = 1);
// Where `data` is not the pattern of that position; nothing if it is.
[[nodiscard]] std::optional<std::uint64_t> first_wrong_byte(std::span<const char> data,
                                                            std::uint64_t position,
                                                            std::uint64_t seed = 1);
void expect_pattern(std::span<const char> data, std::uint64_t position, std::uint64_t seed = 1);

// As O_DIRECT wants it; `bytes`: whole pages of 4096.
using AlignedMemory = std::unique_ptr<char, decltype(&std::free)>;
[[nodiscard]] AlignedMemory aligned_memory(std::size_t bytes);

// All of it, however many calls that takes; false (and errno) on an error.
bool write_all(int fd, std::span<const char> data, off_t offset);
// What is there, up to that many bytes.
[[nodiscard]] std::vector<char> read_at(int fd, std::size_t bytes, off_t offset);

}  // namespace ouro::testing
