// Compares what the two sides gave for the same call, or for the same path of the final trees.
// Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/differential/outcome.hpp"
#include "tests/differential/timeline.hpp"

namespace ouro::differential {

// How the mount's value relates to the native one, where they have an order.
enum class Relation { kNone, kMountLess, kMountGreater };

struct Difference {
  std::string field;   // "errno", "result" or the name of a fact
  std::string native;  // the two values as text
  std::string mount;
  Relation relation = Relation::kNone;
  FactKind kind = FactKind::kText;
  std::string subject = {};  // the path, in a tree
};

// kByCall needs calls that are a tick apart; otherwise only explicit access times are compared.
enum class AccessTimes { kByCall, kExplicitOnly };

// What the values of the two sides are held against.
struct Yardstick {
  Timeline native;
  Timeline mount;
  AccessTimes access_times = AccessTimes::kByCall;
  std::int64_t slack_sectors = 32;
};

// A different errno makes every other comparison pointless and is then the only difference.
[[nodiscard]] std::vector<Difference> compare_outcomes(const Outcome& native, const Outcome& mount,
                                                       const Yardstick& yardstick);

}  // namespace ouro::differential
