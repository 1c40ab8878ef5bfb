// Requests that wait for a slot, as the bytes they came in: a few slots always stay free for what
// others depend on, and the channel cannot be read selectively. In order of arrival.
//
// Bounded: whoever pushes asks full() afterwards, and reads no more requests while it is true. One
// thread. The only place where a request costs an allocation, and a copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fs/protocol.hpp"

namespace ouro::fs {

class ParkedRequests {
 public:
  static constexpr std::size_t kMaxCount = 1024;
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

  [[nodiscard]] bool empty() const { return messages_.empty(); }
  [[nodiscard]] std::size_t size() const { return messages_.size(); }
  [[nodiscard]] bool full() const { return size() >= kMaxCount || bytes_ >= kMaxBytes; }

  // `message`: header and arguments, whole.
  void push(std::span<const std::byte> message) {
    messages_.emplace_back(message.begin(), message.end());
    bytes_ += message.size();
  }
  // The oldest one; there must be one.
  [[nodiscard]] std::vector<std::byte> pop() { return take(messages_.begin()); }

  [[nodiscard]] std::optional<fuse_in_header> find(std::uint64_t unique) const {
    const auto found = position(unique);
    if (found == messages_.end()) return std::nullopt;
    return header_of(*found);
  }
  void remove(std::uint64_t unique) {
    const auto found = position(unique);
    if (found != messages_.end()) (void)take(found);
  }

 private:
  using Messages = std::deque<std::vector<std::byte>>;

  [[nodiscard]] static fuse_in_header header_of(const std::vector<std::byte>& message) {
    fuse_in_header header;
    std::memcpy(&header, message.data(), sizeof header);
    return header;
  }
  [[nodiscard]] Messages::const_iterator position(std::uint64_t unique) const {
    return std::find_if(messages_.begin(), messages_.end(),
                        [&](const auto& message) { return header_of(message).unique == unique; });
  }
  [[nodiscard]] std::vector<std::byte> take(const Messages::const_iterator& at) {
    const auto place = messages_.begin() + (at - messages_.cbegin());
    std::vector<std::byte> message = std::move(*place);
    messages_.erase(place);
    bytes_ -= message.size();
    return message;
  }

  Messages messages_;
  std::size_t bytes_ = 0;
};

}  // namespace ouro::fs
