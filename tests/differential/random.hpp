// Pseudo-random numbers which are the same on every machine and with every library: a sequence is
// a function of (seed, stream) and of nothing else. SplitMix64. Used by the generator; a value
// type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ouro::differential {

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(scramble(seed) ^ stream) { next(); }

  std::uint64_t next() {
    state_ += kGamma;
    return scramble(state_);
  }

  // A number in [0, bound); bound > 0. The bias of the remainder does not matter here.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

  [[nodiscard]] bool percent(unsigned chance) { return below(100) < chance; }

  template <typename T>
  const T& pick(std::span<const T> values) {
    return values[static_cast<std::size_t>(below(values.size()))];
  }

 private:
  static constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15U;

  static std::uint64_t scramble(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
  }

  std::uint64_t state_;
};

}  // namespace ouro::differential
