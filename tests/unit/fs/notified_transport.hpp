// A transport of which only the notifications count.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/unit/fs/idle_transport.hpp"

namespace ouro::fs {

// Takes notifications, with an answer that the test has set.
class NotifiedTransport final : public IdleTransport {
 public:
  [[nodiscard]] int notify(std::int32_t code, std::span<const std::byte> body) const override {
    codes.push_back(code);
    bodies.emplace_back(body.begin(), body.end());
    ++sent;
    return answer;
  }

  int answer = 0;
  mutable std::vector<std::int32_t> codes;  // the worker's until it has counted them
  mutable std::vector<std::vector<std::byte>> bodies;
  mutable std::atomic<std::size_t> sent = 0;
};

}  // namespace ouro::fs
