// The memory of a transport's slots: for each a front page, for what precedes the data of a request
// or a reply, and right behind it the payload. Pages that no request has touched cost nothing.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>

#include "loop/result.hpp"

namespace ouro::fs {

class SlotMemory {
 public:
  static constexpr std::size_t kFrontBytes = 4096;  // a page: payloads are page aligned

  // `payload_bytes`: a multiple of the page size. Errors: ENOMEM.
  [[nodiscard]] static loop::Result<SlotMemory> map(std::size_t slots, std::size_t payload_bytes) {
    const std::size_t bytes = slots * (kFrontBytes + payload_bytes);
    if (bytes == 0) return SlotMemory(nullptr, 0, payload_bytes);
    void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return loop::fail(errno);
    return SlotMemory(static_cast<std::byte*>(memory), bytes, payload_bytes);
  }

  [[nodiscard]] std::byte* front(std::size_t slot) const {
    return memory_.get() + slot * (kFrontBytes + payload_bytes_);
  }
  [[nodiscard]] std::span<std::byte> payload(std::size_t slot) const {
    return {front(slot) + kFrontBytes, payload_bytes_};
  }
  [[nodiscard]] bool contains(const std::byte* place) const {
    return place >= memory_.get() && place < memory_.get() + memory_.get_deleter().bytes;
  }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* memory) const { ::munmap(memory, bytes); }
  };

  SlotMemory(std::byte* memory, std::size_t bytes, std::size_t payload_bytes)
      : memory_(memory, Unmap{bytes}), payload_bytes_(payload_bytes) {}

  std::unique_ptr<std::byte, Unmap> memory_;
  std::size_t payload_bytes_;
};

}  // namespace ouro::fs
