// Which of the descriptors that this process may have are for what: seven eighths for whatever
// comes, the rest for what must go on when a client has opened more files than there is room for.
//
// Nothing is counted. KERNEL: a new descriptor gets the lowest number that is free, so a high
// number tells that they run short.
//
// Any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>

#include "loop/result.hpp"

namespace ouro::passthrough {

class DescriptorBudget {
 public:
  static constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

  // `limit`: RLIMIT_NOFILE. `refused`: called once, when check_room() first says no.
  explicit DescriptorBudget(std::size_t limit = kUnlimited, std::function<void()> refused = {})
      : limit_(limit), refused_(std::move(refused)) {}

  // The number from which on open files are refused, and inodes give way.
  [[nodiscard]] std::size_t reserve_begin() const { return limit_ - limit_ / 8; }

  enum class Use : std::uint8_t {
    kFile,
    kDirectory,  // may go half into the reserve: looking around goes on where opening files does
                 // not
  };
  // Whether a client may open one more. Errors: EMFILE. `any_fd`: one that is open.
  [[nodiscard]] loop::Status check_room(Use use, int any_fd);
  // What a client's open file has got.
  void note(int fd) { last_.store(static_cast<std::size_t>(fd), std::memory_order_relaxed); }

 private:
  [[nodiscard]] std::size_t end(Use use) const;

  const std::size_t limit_;
  const std::function<void()> refused_;
  std::once_flag told_;
  std::atomic<std::size_t> last_ = 0;
};

}  // namespace ouro::passthrough
