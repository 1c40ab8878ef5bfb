// The system calls that serving makes, and the end of the process for every other one: who has
// taken it over can neither execute a program, nor talk to the network, nor mount, nor trace, nor
// make an io_uring of his own (the rings that serve are restricted, too: fs/serving_loop.cpp).
#pragma once

#include <string>
#include <vector>

#include "loop/result.hpp"

namespace ouro::mount_helper {

// For every thread there is and will be. What is to be opened, mounted, started or set up once has
// been by then. Takes PR_SET_NO_NEW_PRIVS, or sets it. Errors: of seccomp(), with nothing filtered.
// `ioctls`: allowed beside those of passthrough/allowed_ioctls.hpp.
[[nodiscard]] loop::Status filter_calls(const std::vector<unsigned long>& ioctls);

// Of the library, as 2.5.4.
[[nodiscard]] std::string libseccomp_version();

}  // namespace ouro::mount_helper
