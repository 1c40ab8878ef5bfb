// The texts of the program: the report of a failure, which is a replay file as well, the summary,
// and the progress line.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tests/differential/known_differences.hpp"
#include "tests/differential/runner.hpp"

namespace ouro::differential {

struct Report {
  Sequence sequence;  // the short one
  Failure failure;    // where the short one fails
  std::size_t calls_before = 0;
  unsigned replays = 0;
  bool reproduced = false;  // false: the difference did not show up again, nothing was shrunk
};

// kBrief: of a sequence that could not be made short, only the call that failed.
enum class Detail { kFull, kBrief };

// Lines of prose begin with '#'; the others are the calls of a replay file.
[[nodiscard]] std::string format_report(const Report& report, std::span<const std::string> names,
                                        const std::string& reproduce_command, Detail detail);

// The calls of a replay file. On an error: nothing, and the line that is no call.
[[nodiscard]] std::optional<Sequence> parse_replay(std::string_view text,
                                                   std::span<const std::string> names,
                                                   std::string& bad_line);

enum class Unused { kHide, kList };
[[nodiscard]] std::string format_summary(const Tally& tally, const KnownDifferences& known,
                                         std::size_t failures, Unused unused);

}  // namespace ouro::differential
