#include "fs/notifications.hpp"

#include <span>

#include "fs/protocol.hpp"

namespace ouro::fs {

namespace {

void invalidate(const Notifier& notifier, const fuse_notify_inval_inode_out& out) {
  // A node that the client has forgotten meanwhile is no failure.
  static_cast<void>(notifier.notify(FUSE_NOTIFY_INVAL_INODE, std::as_bytes(std::span(&out, 1))));
}

}  // namespace

void drop_attributes(const Notifier& notifier, std::uint64_t node) {
  invalidate(notifier, {node, -1, 0});  // off < 0: attributes alone
}

void drop_pages(const Notifier& notifier, std::uint64_t node) {
  invalidate(notifier, {node, 0, 0});  // len 0: to the end
}

void drop_pages(const Notifier& notifier, std::uint64_t node, std::uint64_t offset,
                std::uint32_t bytes) {
  invalidate(notifier, {node, static_cast<std::int64_t>(offset), bytes});
}

}  // namespace ouro::fs
