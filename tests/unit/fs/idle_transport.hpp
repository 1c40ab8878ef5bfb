// A transport that carries nothing: for tests, which override what they are about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "fs/transport.hpp"

namespace ouro::fs {

class IdleTransport : public Transport {
 public:
  void start(RequestSink& /*sink*/) override {}
  void stop() override {}
  void reply(Request& /*request*/) override {}
  [[nodiscard]] bool reply_here(Request& /*request*/) override { return false; }
  void drop(Request& /*request*/) override {}
  [[nodiscard]] bool can_be_parked(const Request& /*request*/) const override { return false; }
  void put_back(Request& /*request*/) override {}
  Request& readmit(std::span<const std::byte> /*message*/) override { std::abort(); }
  void pause() override {}
  void resume() override {}
  void send_error(std::uint64_t /*unique*/, int /*errno_value*/) override {}
  [[nodiscard]] bool ask_for_interrupt(const Request& /*request*/) override { return false; }
  [[nodiscard]] std::size_t free_slots() const override { return 0; }
  [[nodiscard]] int notify(std::int32_t /*code*/,
                           std::span<const std::byte> /*body*/) const override {
    return 0;
  }
};

}  // namespace ouro::fs
