// A Request without a transport, for tests of what works on one.
#pragma once

#include <array>
#include <vector>

#include "fs/request.hpp"
#include "tests/unit/fs/message.hpp"

namespace ouro::fs {

class TestRequest final : public Request {
 public:
  TestRequest() : Request(std::span(payload_)) {}

  // As Request::receive(); the bytes are kept here.
  [[nodiscard]] bool receive(const Message& message) {
    received_ = message.encode();
    return Request::receive(received_);
  }

 private:
  std::array<std::byte, 256> payload_{};
  std::vector<std::byte> received_;
};

}  // namespace ouro::fs
