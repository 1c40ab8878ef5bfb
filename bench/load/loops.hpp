// The loops of system calls that a load consists of. Every thread works in a directory of its own
// (DIRECTORY/thread0, ...), on files that prepare() has made there, and ends when its time is over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bench/load/histogram.hpp"
#include "loop/result.hpp"

namespace ouro::bench {

enum class Loop : std::uint8_t {
  kStat,          // fstatat of one file after another
  kFreshStat,     // the same, asking whoever keeps them: AT_STATX_FORCE_SYNC
  kOpenClose,     // open to read, and close
  kCreateUnlink,  // create a file, close it, remove it
  kReaddir,       // open the directory, list all of it, close
};

[[nodiscard]] std::optional<Loop> loop_named(std::string_view name);

struct Load {
  Loop loop = Loop::kStat;
  std::string directory;
  unsigned threads = 1;
  unsigned files = 64;  // of each thread
  double seconds = 1;
};

struct Outcome {
  Histogram durations;  // one entry an operation
  double seconds = 0;   // from the common start to the end of the last thread
};

// The directories and files that a load works on; what is there already stays.
[[nodiscard]] loop::Result<void> prepare(const Load& load);

// Blocks until the time is over. The first error of any thread ends all of them and is returned.
[[nodiscard]] loop::Result<Outcome> run(const Load& load);

}  // namespace ouro::bench
