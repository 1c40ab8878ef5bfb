// The kernel's side of a FUSE channel: a socketpair that keeps message boundaries, as /dev/fuse
// does. Sends requests, and holds the answers until a test takes them. One thread.
//
// What it cannot imitate: the errors of read() and write() at the real channel (ENODEV, ENOENT).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "loop/unique_fd.hpp"
#include "tests/unit/fs/message.hpp"

namespace ouro::fs {

// One reply of the server.
struct Answer {
  fuse_out_header header{};
  std::vector<std::byte> payload;

  // The errno that it carries; 0 for success.
  [[nodiscard]] int error() const { return -header.error; }
  [[nodiscard]] std::string text() const;
  // The payload as a struct, which it must be in full; or the struct at `offset` of it.
  template <typename T>
  [[nodiscard]] T as() const {
    if (payload.size() != sizeof(T)) throw std::runtime_error("a reply of another size");
    return at<T>(0);
  }
  template <typename T>
  [[nodiscard]] T at(std::size_t offset) const {
    T value;
    if (payload.size() < offset + sizeof value) throw std::runtime_error("too short a reply");
    std::memcpy(&value, payload.data() + offset, sizeof value);
    return value;
  }
};

class FakeKernel {
 public:
  FakeKernel();

  // The server's end, non-blocking.
  [[nodiscard]] int channel() const { return server_.get(); }
  // Another descriptor of it: as with clones of the real channel, all share one input queue.
  [[nodiscard]] loop::UniqueFd clone_channel() const;

  // Sends a request, and returns its unique id.
  std::uint64_t send(Message message);
  void send_bytes(std::span<const std::byte> raw);

  // Takes in what the server has sent until now. Never blocks.
  void collect();
  // Whether the request was answered, as far as collect() has seen.
  [[nodiscard]] bool answered(std::uint64_t unique) const;
  // The answer to a request, if it is there.
  [[nodiscard]] std::optional<Answer> take(std::uint64_t unique);
  // The answer to a request that somebody else's thread serves. Throws if none comes.
  [[nodiscard]] Answer wait(std::uint64_t unique);
  [[nodiscard]] Answer call(Message message) { return wait(send(std::move(message))); }
  // Answers that nobody has taken, oldest first.
  [[nodiscard]] const std::deque<Answer>& waiting() const { return answers_; }
  // What it was told without having asked, oldest first; the code is in header.error.
  [[nodiscard]] const std::deque<Answer>& notifications() const { return notifications_; }
  // The unique ids of all answers that ever came, in their order.
  [[nodiscard]] const std::vector<std::uint64_t>& order() const { return order_; }

  // Hangs up: the server reads an end of file, or ECONNRESET while answers are not collected.
  void hang_up() { kernel_.reset(); }
  // From now on every reply fails (EPIPE), while requests still reach the server.
  void lose_replies();

 private:
  static constexpr std::chrono::seconds kPatience{20};

  loop::UniqueFd kernel_;
  loop::UniqueFd server_;
  std::uint64_t last_unique_ = 0;
  std::vector<std::byte> buffer_;
  std::deque<Answer> notifications_;
  std::deque<Answer> answers_;
  std::vector<std::uint64_t> order_;
};

}  // namespace ouro::fs
