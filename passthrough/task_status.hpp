// What /proc says of a caller, where a request does not: a file system that is asked a second time
// must know more than the kernel's client sends along. Fails closed: of whom nothing can be read,
// the answer is no, or nobody. Any thread.
#pragma once

#include <sys/types.h>

#include <vector>

#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

// Opens a procfs of our own, where this process may mount one. That at /proc may be mounted with
// hidepid, which hides from who has no CAP_SYS_PTRACE, and the daemon gives that up, whom it
// serves. The others do it at the first use, when it may be forbidden.
void open_task_directory();

// The supplementary groups of the task `pid`.
[[nodiscard]] std::vector<gid_t> groups_of(pid_t pid);

// Whether `group` is among the supplementary groups of the task `pid`.
[[nodiscard]] bool is_member(pid_t pid, gid_t group);

// Whether the task `pid` has a capability (CAP_*), in the daemon's user namespace.
[[nodiscard]] bool has_capability(pid_t pid, unsigned capability);

// Whether a fatal signal waits for the task `pid`. A regular file's system calls are not
// interruptible natively: only a client that is being killed may see EINTR, and it will not see it
// either.
[[nodiscard]] bool is_being_killed(pid_t pid);

// Whose file system identity that task has, where a request does not say; nobody's if the task is
// gone, or not in our pid namespace.
[[nodiscard]] Caller caller_of(pid_t pid);

}  // namespace ouro::passthrough
