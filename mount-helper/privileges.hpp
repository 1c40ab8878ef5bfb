// What is given up for good, of which serving needs nothing. A plain user has no capability to
// lose. For the calling thread and those that it starts later: call these while it is the only one.
#pragma once

#include <span>
#include <string_view>

#include "loop/result.hpp"

namespace ouro::mount_helper {

struct Capability {
  unsigned number;        // CAP_*
  std::string_view name;  // as in capabilities(7), without cap_
};

// All that serving as root needs, with the reason for each in privileges.cpp.
[[nodiscard]] std::span<const Capability> serving_capabilities();

// Reduces the bounding set to those, which nothing executed later can exceed. Errors: EPERM.
[[nodiscard]] loop::Status reduce_bounding_set();
// Reduces what is effective and permitted to those of them that this process has; empties what is
// inheritable and ambient. Errors: EPERM.
[[nodiscard]] loop::Status reduce_capabilities();
// No execve() gives this process anything: PR_SET_NO_NEW_PRIVS.
[[nodiscard]] loop::Status refuse_new_privileges();
// Nobody may trace this process, or find its memory in a core file: PR_SET_DUMPABLE.
[[nodiscard]] loop::Status refuse_dumps();

}  // namespace ouro::mount_helper
