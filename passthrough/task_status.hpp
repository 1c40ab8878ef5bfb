// What /proc says of a caller, where a request does not: a file system that is asked a second time
// must know more than the kernel's client sends along. Fails closed: of whom nothing can be read,
// the answer is no, or nobody. Any thread.
#pragma once

#include <sys/types.h>

#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

// Whether `group` is among the supplementary groups of the task `pid`.
[[nodiscard]] bool is_member(pid_t pid, gid_t group);

// Whether the task `pid` has a capability (CAP_*), in the daemon's user namespace.
[[nodiscard]] bool has_capability(pid_t pid, unsigned capability);

// Whose file system identity that task has, where a request does not say; nobody's if the task is
// gone, or not in our pid namespace.
[[nodiscard]] Caller caller_of(pid_t pid);

}  // namespace ouro::passthrough
