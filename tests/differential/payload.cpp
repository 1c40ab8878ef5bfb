#include "tests/differential/payload.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fmt/format.h>

namespace ouro::differential {
namespace {

constexpr unsigned kPositionBits = 3;
constexpr std::uint64_t kHashFactor = 0x9e3779b97f4a7c15U;

std::uint8_t position_mix(std::uint64_t position) {
  return static_cast<std::uint8_t>((position * kHashFactor) >> (64U - kPositionBits));
}

void* allocate_pages(std::size_t bytes) {
  const std::size_t pages = bytes / kPageBytes + 2;
  void* memory = std::aligned_alloc(kPageBytes, pages * kPageBytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

char letter_of(std::byte byte) {
  const unsigned letter = std::to_integer<unsigned>(byte) >> kPositionBits;
  return static_cast<char>(letter == 0 ? '0' : '@' + letter);
}

}  // namespace

Buffer::Buffer(std::size_t bytes, std::size_t misalignment)
    : bytes_(bytes),
      memory_(allocate_pages(bytes)),
      start_(static_cast<std::byte*>(memory_.get()) + misalignment) {
  std::memset(start_, 0, bytes);
}

std::span<std::byte> Buffer::first(std::int64_t count) const {
  return {start_, count < 0 ? 0 : std::min(static_cast<std::size_t>(count), bytes_)};
}

void fill_pattern(std::span<std::byte> bytes, std::int64_t fill) {
  const auto letter = static_cast<unsigned>(fill) << kPositionBits;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(letter | position_mix(i));
  }
}

void DataSummary::add(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    hash_ = (hash_ ^ std::to_integer<std::uint64_t>(byte)) * kHashFactor;
    const char letter = letter_of(byte);
    if (letter != letter_) {
      close_run();
      letter_ = letter;
    }
    ++run_;
  }
  size_ += bytes.size();
}

void DataSummary::close_run() {
  if (run_ > 0 && runs_ < kMaxRuns) text_ += fmt::format(" {}*{}", letter_, run_);
  if (run_ > 0 && runs_ == kMaxRuns) text_ += " ...";
  if (run_ > 0) ++runs_;
  run_ = 0;
}

std::string DataSummary::text() const {
  DataSummary finished = *this;
  finished.close_run();
  return fmt::format("{} bytes {:08x}{}", size_, hash_ >> 32U, finished.text_);
}

std::string describe(std::span<const std::byte> bytes) {
  DataSummary summary;
  summary.add(bytes);
  return summary.text();
}

}  // namespace ouro::differential
