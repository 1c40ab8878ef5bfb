#include "fs/notifications.hpp"

#include <span>

#include "fs/protocol.hpp"

namespace ouro::fs {

void drop_attributes(const Notifier& notifier, std::uint64_t node) {
  const fuse_notify_inval_inode_out out{node, -1, 0};  // off < 0: attributes alone
  // A node that the client has forgotten meanwhile is no failure.
  static_cast<void>(notifier.notify(FUSE_NOTIFY_INVAL_INODE, std::as_bytes(std::span(&out, 1))));
}

}  // namespace ouro::fs
