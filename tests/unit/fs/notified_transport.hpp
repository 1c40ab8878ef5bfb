// A transport of which only the notifications count.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "fs/transport.hpp"

namespace ouro::fs {

// Takes notifications, with an answer that the test has set.
class NotifiedTransport final : public Transport {
 public:
  void start(RequestSink& /*sink*/) override {}
  void stop() override {}
  void reply(Request& /*request*/) override {}
  void drop(Request& /*request*/) override {}
  [[nodiscard]] bool can_be_parked(const Request& /*request*/) const override { return true; }
  void put_back(Request& /*request*/) override {}
  Request& readmit(std::span<const std::byte> /*message*/) override { std::abort(); }
  void pause() override {}
  void resume() override {}
  void send_error(std::uint64_t /*unique*/, int /*errno_value*/) override {}
  [[nodiscard]] bool ask_for_interrupt(const Request& /*request*/) override { return false; }
  [[nodiscard]] std::size_t free_slots() const override { return 1; }
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
