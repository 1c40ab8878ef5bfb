#include "fs/slot_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace ouro::fs {
namespace {

// Where pages are of 4 KiB. Elsewhere huge ones are larger, and a slot has none.
constexpr std::size_t kHugeBytes = std::size_t{2} << 20;

// KERNEL(6.1): MADV_COLLAPSE, which glibc 2.36 does not name.
constexpr int kCollapse = 25;

constexpr std::size_t rounded_up(std::size_t bytes) {
  return (bytes + kHugeBytes - 1) / kHugeBytes * kHugeBytes;
}

// How far `place` is behind the beginning of a huge page.
std::size_t into_huge_page(const std::byte* place) {
  return reinterpret_cast<std::uintptr_t>(place) % kHugeBytes;
}

}  // namespace

loop::Result<SlotMemory> SlotMemory::map(std::size_t slots, std::size_t payload_bytes) {
  const std::size_t slot_bytes = slots * (kFrontBytes + payload_bytes);
  if (slot_bytes == 0) return SlotMemory(nullptr, 0, nullptr, payload_bytes);
  const std::size_t bytes = rounded_up(slot_bytes) + kHugeBytes;
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return loop::fail(errno);
  auto* const mapping = static_cast<std::byte*>(memory);
  const std::size_t in_front = (kHugeBytes - into_huge_page(mapping)) % kHugeBytes;
  return SlotMemory(mapping, bytes, mapping + in_front, payload_bytes);
}

void SlotMemory::use_huge_pages(std::size_t slot) const {
  const std::size_t before = into_huge_page(front(slot));
  std::byte* const first = front(slot) - before;
  const std::size_t bytes = rounded_up(before + kFrontBytes + payload_bytes_);
  // Best effort, and the second without the first too: it is for what has small pages already.
  (void)::madvise(first, bytes, MADV_HUGEPAGE);
  (void)::madvise(first, bytes, kCollapse);
}

void SlotMemory::Unmap::operator()(std::byte* mapping) const {
  ::munmap(mapping, bytes);
}

}  // namespace ouro::fs
