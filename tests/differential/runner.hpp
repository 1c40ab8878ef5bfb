// Runs one sequence on both sides in lock step and says where they first differ: after each call,
// and at the end in the final trees, seen through the mount while descriptors are still open, and
// in the mount's source once they are closed. Used by main and, for replays, by the shrinker.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "loop/result.hpp"
#include "tests/differential/compare.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/known_differences.hpp"
#include "tests/differential/scratch.hpp"
#include "tests/differential/tree.hpp"
#include "tests/differential/worker.hpp"

namespace ouro::differential {

// The first place of a sequence with unexplained differences.
struct Failure {
  std::size_t call_index;  // the number of calls, where it is a tree
  std::string where;       // the name of the row, "tree-mount", "tree-source" or "cleanup"
  std::vector<Difference> differences;
};

// What happened, added up over sequences.
struct Tally {
  struct Count {
    std::uint64_t calls = 0;
    std::uint64_t succeeded = 0;
    std::map<int, std::uint64_t> errors;
  };
  std::uint64_t sequences = 0;
  std::uint64_t calls = 0;
  std::uint64_t ended_early = 0;  // by a known difference
  std::map<std::string, Count> by_kind;
  std::map<std::string, std::uint64_t> known;
};

class Runner {
 public:
  enum class KnownPolicy { kAsListed, kAlwaysEnd };

  struct Setup {
    SidePaths sides;
    std::string scratch_name;
    KnownPolicy known_policy = KnownPolicy::kAsListed;
    // How long making, walking or removing the directories may take; then SIGALRM ends the program,
    // since a mount that hangs leaves no other way. 0: for ever.
    unsigned timeout_s = 0;
    std::string cache = "auto";  // the mount's option, which rules about known differences ask for
    // Changes what the mount is said to have done: the selftest's way to make it lie.
    std::function<void(const Call&, Outcome&)> distort_mount;
  };

  // Both must outlive the runner.
  Runner(Setup setup, Workers& workers, const KnownDifferences& known);

  // Nothing: no unexplained difference. An error: the machinery itself failed; see trouble().
  [[nodiscard]] loop::Result<std::optional<Failure>> run(const Sequence& sequence, Tally& tally);
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  enum class Verdict { kSame, kEnd, kFailed };
  class Run;

  Setup setup_;
  Workers& workers_;
  const KnownDifferences& known_;
  std::string filesystem_;
  std::string trouble_;
};

}  // namespace ouro::differential
