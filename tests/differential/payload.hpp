// Buffers of the data calls: page aligned, filled with a pattern that names its writer, and
// described in one line of text. Used by the executors and the tree walk. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

namespace ouro::differential {

inline constexpr std::size_t kPageBytes = 4096;

// Page-aligned memory with a page to spare, so that an unaligned view fits too.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes, std::size_t misalignment = 0);
  [[nodiscard]] std::byte* data() const { return start_; }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] std::span<std::byte> first(std::int64_t count) const;

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::size_t bytes_;
  std::unique_ptr<void, Free> memory_;
  std::byte* start_;
};

// Byte i is the letter of `fill` in its upper five bits and three bits that depend on i.
void fill_pattern(std::span<std::byte> bytes, std::int64_t fill);

// Collects data piece by piece; the text holds the size, a hash of every byte and where the
// letters of the pattern begin: "4196 bytes 5f0c2e01 A*100 0*4096". Zero bytes are "0".
class DataSummary {
 public:
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::string text() const;

 private:
  static constexpr int kMaxRuns = 12;
  void close_run();

  std::uint64_t size_ = 0;
  std::uint64_t hash_ = 0;
  char letter_ = 0;
  std::uint64_t run_ = 0;
  int runs_ = 0;
  std::string text_;
};

[[nodiscard]] std::string describe(std::span<const std::byte> bytes);

}  // namespace ouro::differential
