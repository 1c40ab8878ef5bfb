// The table of all kinds of calls. One row holds the name, the frequency, the parameters (and so
// the generator) and the executor of a call; whoever adds a system call adds a row.
#pragma once

#include <span>
#include <string_view>

#include "tests/differential/call.hpp"

namespace ouro::differential {

[[nodiscard]] std::span<const CallRow> call_table();
// The row with that name, or null.
[[nodiscard]] const CallRow* find_row(std::string_view name);

}  // namespace ouro::differential
