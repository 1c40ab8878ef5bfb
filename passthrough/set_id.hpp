// Who clears the set-id bits of a file by changing its content, and under which identity the
// change must run so that the source's file system decides about them exactly as it does natively.
#pragma once

#include <optional>

#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

[[nodiscard]] bool has_set_id_bits(int fd);

// A caller without CAP_FSETID who changes a file's content; empty: one who has it.
using SetIdKiller = std::optional<Caller>;

// The identity to change the file behind `fd` (O_PATH is enough) under; empty: the daemon's own.
// SGID without group execution stays for members of the file's group, so that one group of the
// caller is looked up in /proc where such a file is concerned. Any thread.
[[nodiscard]] std::optional<Credentials> killing_credentials(const SetIdKiller& killer, int fd);

// The same, with what is seen on the way.
struct Killing {
  std::optional<Credentials> credentials;
  bool clears = false;  // whether the file has set-id bits to lose; never without a killer
};
[[nodiscard]] Killing killing(const SetIdKiller& killer, int fd);

// The same where requests do not say whether the caller has CAP_FSETID. That others than root do
// not have it is assumed; of root it is looked up in /proc where the file has set-id bits.
[[nodiscard]] std::optional<Credentials> unflagged_killing_credentials(const SetIdKiller& killer,
                                                                       int fd);

// The same for chown(), which clears SUID whoever calls it, and SGID without group execution unless
// the caller is a member of the file's group; but needs the daemon's CAP_CHOWN.
[[nodiscard]] std::optional<Credentials> chown_credentials(const SetIdKiller& killer, int fd);
// The same for chown(path, -1, -1), which clears them for their owner and is EPERM to others.
[[nodiscard]] std::optional<Credentials> touch_credentials(const SetIdKiller& killer, int fd);

}  // namespace ouro::passthrough
