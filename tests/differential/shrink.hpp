// Makes a failing sequence short: removes calls, in ever smaller pieces, as long as what is left
// still fails, and then makes the arguments of the remaining calls plainer in the same way.
// Pure, but for the predicate.
#pragma once

#include <functional>
#include <vector>

#include "tests/differential/call.hpp"

namespace ouro::differential {

using Calls = std::vector<Call>;

struct ShrinkResult {
  Calls calls;
  unsigned replays = 0;
};

// fails: replays the calls, and says whether the difference is still there. It is asked at most
// `max_replays` times. `calls` themselves are taken to fail.
[[nodiscard]] ShrinkResult shrink(Calls calls, const std::function<bool(const Calls&)>& fails,
                                  unsigned max_replays);

}  // namespace ouro::differential
