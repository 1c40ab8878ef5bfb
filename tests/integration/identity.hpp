// Somebody whom a test acts as, with a list of groups and whatever else makes one user of a mount
// differ from another. Identities are taken on in children, for good.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/integration/transcript.hpp"

namespace ouro::testing {

struct Identity {
  const char* name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups = {};
  bool keeps_fsetid = true;  // of root, who may have given the capability up
};

// Whether the calling process has become that.
[[nodiscard]] bool take_on(const Identity& identity);

// Runs `act` in a child as somebody else, and takes over the lines that it has returned.
[[nodiscard]] std::vector<std::string> lines_of(
    const Identity& identity, const std::function<std::vector<std::string>()>& act);

// Lets somebody else write into the transcript.
void as(const Identity& identity, Transcript& t, const std::function<void(Transcript&)>& act);

}  // namespace ouro::testing
