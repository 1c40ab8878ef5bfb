// Makes the sequences. A sequence is a function of the seed, its number, the count of calls and
// the count of identities, and of nothing else: no clock, no result of an earlier call.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/differential/call.hpp"

namespace ouro::differential {

// kTick: the program waits for the kernel's coarse clock before every call, so that each time
// stamp tells which call made it. Slow, so only some sequences do.
enum class Pace { kFull, kTick };

struct Sequence {
  std::uint64_t seed = 0;
  std::uint64_t number = 0;
  Pace pace = Pace::kFull;
  std::vector<Call> calls;
};

struct SequenceShape {
  std::uint64_t seed = 1;
  std::size_t calls = 200;
  int identities = 1;
  std::uint64_t paced_every = 10;  // every how many-th sequence is paced; 0: none
};

[[nodiscard]] Sequence generate_sequence(const SequenceShape& shape, std::uint64_t number);
// One call of that kind; the selftest uses it to try every row.
[[nodiscard]] Call generate_call(Random& random, const CallRow& row, int identity);

}  // namespace ouro::differential
