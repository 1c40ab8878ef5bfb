// The command line. Parsed once by main; plain data afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/differential/generator.hpp"
#include "tests/differential/report.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/worker.hpp"

namespace ouro::differential {

enum class Action { kRun, kReplay, kDump, kListCalls, kHelp };

struct Options {
  Action action = Action::kRun;
  SidePaths sides;
  SequenceShape shape;
  std::uint64_t first_sequence = 0;
  std::uint64_t sequences = 200;
  Users users = Users::kOne;
  std::string cache = "auto";
  std::string known_file;
  std::string report_file;
  std::string replay_file;
  Runner::KnownPolicy known_policy = Runner::KnownPolicy::kAsListed;
  Unused unused = Unused::kHide;
  std::uint64_t max_failures = 1;
  unsigned max_replays = 1500;
  int timeout_ms = 60'000;
};

[[nodiscard]] std::string usage();
// On an error: nothing, and `complaint` is one line for the user.
[[nodiscard]] std::optional<Options> parse_options(int argc, char** argv, std::string& complaint);

}  // namespace ouro::differential
