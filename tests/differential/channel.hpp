// Messages between the program and a worker: one SOCK_SEQPACKET datagram each, which may carry
// descriptors. A Channel is one end; it is used by one thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::differential {

struct Message {
  std::string bytes;
  std::vector<loop::UniqueFd> fds;
};

inline constexpr int kNoTimeout = -1;

class Channel {
 public:
  explicit Channel(loop::UniqueFd socket);

  [[nodiscard]] loop::Status send(std::string_view bytes, std::span<const int> fds = {});
  // ETIMEDOUT when nothing comes in time, ECONNRESET when the other end is gone.
  [[nodiscard]] loop::Result<Message> receive(int timeout_ms);
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  loop::UniqueFd socket_;
  std::vector<char> buffer_;
};

[[nodiscard]] loop::Result<std::pair<loop::UniqueFd, loop::UniqueFd>> make_channel_pair();

}  // namespace ouro::differential
