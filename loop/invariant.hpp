// Our own broken invariants end the process with a message; kernel and user data never do.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ouro::loop {

// Aborts with `message` unless `holds`. For programming errors only, in every build type.
inline void invariant(bool holds, const char* message) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "ourofs: broken invariant: %s\n", message);
  std::abort();
}

}  // namespace ouro::loop
