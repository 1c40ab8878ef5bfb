// How long a loop looks for work in memory before it sleeps (QEMU's adaptive polling): as long as
// that tends to find some, and not at all where it does not. Worth its CPU only where a wake-up
// costs more than the wait for the next event; off by default.
//
// The rule of growth is that of QEMU: an event that came within the limit, but after the loop had
// stopped looking, lets it look longer; one that came later lets it give up.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ouro::loop {

struct PollingOptions {
  std::int64_t max_ns = 0;  // 0: never spin
  unsigned grow = 2;        // factor
  unsigned shrink = 0;      // divisor; 0: back to no spinning at once
};

class AdaptivePolling {
 public:
  static constexpr std::int64_t kFirstNs = 4'000;

  explicit AdaptivePolling(const PollingOptions& options) : options_(options) {}

  [[nodiscard]] bool enabled() const { return options_.max_ns > 0; }
  // How long to spin before the next sleep.
  [[nodiscard]] std::int64_t current_ns() const { return current_ns_; }

  // After an event: it came `block_ns` after the loop had begun to spin or sleep.
  void tune(std::int64_t block_ns) {
    if (block_ns <= current_ns_) return;
    if (block_ns > options_.max_ns) {
      current_ns_ = options_.shrink == 0 ? 0 : current_ns_ / options_.shrink;
      return;
    }
    const std::int64_t longer = current_ns_ == 0 ? kFirstNs : current_ns_ * options_.grow;
    current_ns_ = std::min(longer, options_.max_ns);
  }

 private:
  const PollingOptions options_;
  std::int64_t current_ns_ = 0;
};

}  // namespace ouro::loop
