#include "mount-helper/fd_limit.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

namespace ouro::mount_helper {
namespace {

// No process may go beyond fs.nr_open, and a million handles is enough for one mount.
rlim_t highest_useful_limit() {
  constexpr rlim_t kEnough = 1U << 20U;
  rlim_t nr_open = 0;
  std::ifstream("/proc/sys/fs/nr_open") >> nr_open;
  return nr_open != 0 ? std::min(nr_open, kEnough) : kEnough;
}

}  // namespace

Outcome<std::uint64_t> raise_fd_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return give_up(ExitCode::kSystem, "cannot read the limit of open files: " + errno_text(errno));
  }
  const rlim_t highest = std::max(limit.rlim_max, highest_useful_limit());
  const rlimit beyond{highest, highest};
  const rlimit hard{limit.rlim_max, limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &beyond) != 0) ::setrlimit(RLIMIT_NOFILE, &hard);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < kMinOpenFiles) {
    return give_up(ExitCode::kSystem,
                   "the limit of open files is " + std::to_string(limit.rlim_cur) + ", at least " +
                       std::to_string(kMinOpenFiles) + " are needed",
                   "raise the hard limit: 'ulimit -Hn', or nofile in /etc/security/limits.conf");
  }
  return limit.rlim_cur;
}

}  // namespace ouro::mount_helper
