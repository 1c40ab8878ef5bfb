// The modes of ourofs that tests run through, and the proof of which one was really active:
// counters taken where completions are reaped. A silent fallback is a complaint. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/mounted.hpp"

namespace ouro::testing {

enum class Backing : std::uint8_t { kRing, kInline, kKernel };
enum class Metadata : std::uint8_t { kInline, kNested, kAuto };
// How requests come: by the channel, or by FUSE-over-io_uring.
enum class Transport : std::uint8_t { kDev, kRing };

struct Mode {
  Who who = Who::kRoot;
  Backing backing = Backing::kRing;
  Metadata metadata = Metadata::kInline;
  unsigned loops = 2;
  Transport transport = Transport::kDev;

  // A name for a test: RootRingNestedLoops2, and for Transport::kRing RootRingNestedLoops2OverRing.
  [[nodiscard]] std::string name() const;
  friend std::ostream& operator<<(std::ostream& out, const Mode& mode) {
    return out << mode.name();
  }
  // For the command line, with others appended: "-o", "backing=...".
  [[nodiscard]] std::vector<std::string> options(const std::string& more = {}) const;
};

// {root, plain user} x {ring, inline} x {inline, nested} x {one loop, two}, some by the ring, and
// root by the kernel with each kind of metadata, and some with metadata=auto; under a sanitizer
// only those that between them run all the code.
[[nodiscard]] std::vector<Mode> all_modes();

// What the mode needs of the machine, as in requirements.hpp. Has the kernel offer
// FUSE-over-io_uring where it is the mode's.
[[nodiscard]] std::optional<std::string> can_serve(const Mode& mode);

// What the work on the mount must have consisted of for a proof to mean anything.
enum class Work : std::uint8_t { kAny, kData, kEverything };

// Nothing, when the line "serving" and the counters show that mode and no other.
[[nodiscard]] std::vector<std::string> disprove(const Mode& mode, const Mounted& mounted,
                                                const Statistics& statistics, Work work);

}  // namespace ouro::testing
