// What follows a failure: run the calls again, make them few, and say what is left. Used by main.
#pragma once

#include "loop/result.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/report.hpp"
#include "tests/differential/runner.hpp"

namespace ouro::differential {

// Replays parts of the sequence, in fresh directories, at most `max_replays` times (0: not at all,
// the report then holds the whole sequence). A part fails when the same field of the same kind of
// call differs (not a time, if anything else does). An error: the machinery failed, see
// runner.trouble().
[[nodiscard]] loop::Result<Report> investigate(Runner& runner, const Sequence& sequence,
                                               const Failure& failure, unsigned max_replays);

}  // namespace ouro::differential
