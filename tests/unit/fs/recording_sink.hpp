// A RequestSink that keeps what it is told, for tests of a transport without a server.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "fs/transport.hpp"

namespace ouro::fs {

class RecordingSink final : public RequestSink {
 public:
  void on_request(Request& request) override {
    ++received;
    held.push_back(&request);
    if (when_received) when_received(request);
  }
  void on_reply_lost(Request& request) override { lost.push_back(request.header().unique); }
  void on_finished(Request& request) override { finished.push_back(request.header().unique); }
  void on_disconnect(Disconnect reason) override {
    ++disconnects;
    disconnected = reason;
  }

  // The oldest request that is held, which the caller then has to end.
  [[nodiscard]] Request& take() {
    Request& request = *held.at(0);
    held.erase(held.begin());
    return request;
  }

  std::size_t received = 0;
  std::vector<Request*> held;
  std::vector<std::uint64_t> lost;      // unique ids
  std::vector<std::uint64_t> finished;  // unique ids
  int disconnects = 0;
  std::optional<Disconnect> disconnected;
  std::function<void(Request&)> when_received;
};

}  // namespace ouro::fs
