// The memory of a transport's slots: for each a front page, for what precedes the data of a request
// or a reply, and right behind it the payload. Pages that no request has touched cost nothing.
//
// What devices read into and write from is better made of huge pages: one of 4 KiB is a segment by
// itself, and a device takes only so many in one request (virtio-blk 254, so that 1 MiB would be
// two). But a huge page costs 2 MiB when the first byte of it is touched, and most requests touch a
// few. So a slot gets them when it is first used for such a transfer.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "loop/result.hpp"

namespace ouro::fs {

class SlotMemory {
 public:
  static constexpr std::size_t kFrontBytes = 4096;  // a page: payloads are page aligned

  // `payload_bytes`: a multiple of the page size. Errors: ENOMEM.
  [[nodiscard]] static loop::Result<SlotMemory> map(std::size_t slots, std::size_t payload_bytes);

  [[nodiscard]] std::byte* front(std::size_t slot) const {
    return slots_ + slot * (kFrontBytes + payload_bytes_);
  }
  [[nodiscard]] std::span<std::byte> payload(std::size_t slot) const {
    return {front(slot) + kFrontBytes, payload_bytes_};
  }
  [[nodiscard]] bool contains(const std::byte* place) const {
    return place >= mapping_.get() && place < mapping_.get() + mapping_.get_deleter().bytes;
  }

  // Puts the slot on huge pages, those of its neighbours that share them included, as far as the
  // system has and allows them; what the memory holds stays. Takes as long as copying it does.
  void use_huge_pages(std::size_t slot) const;

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(std::byte* mapping) const;
  };

  SlotMemory(std::byte* mapping, std::size_t bytes, std::byte* slots, std::size_t payload_bytes)
      : mapping_(mapping, Unmap{bytes}), slots_(slots), payload_bytes_(payload_bytes) {}

  std::unique_ptr<std::byte, Unmap> mapping_;
  std::byte* slots_;  // in mapping_, which has room for the whole huge pages around them
  std::size_t payload_bytes_;
};

}  // namespace ouro::fs
