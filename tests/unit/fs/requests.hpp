// The requests of the wire, one function each, for tests that send them to a server.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <string_view>

#include "tests/unit/fs/message.hpp"

namespace ouro::fs::requests {

inline constexpr std::uint64_t kRoot = Message::kRootNode;

inline Message lookup(std::string_view name, std::uint64_t parent = kRoot) {
  return Message(FUSE_LOOKUP, parent).name(name);
}
inline Message forget(std::uint64_t node, std::uint64_t count = 1) {
  return Message(FUSE_FORGET, node).with(fuse_forget_in{count});
}
// `count`: what the request says of the pairs that follow.
inline Message batch_forget(std::uint32_t count, std::span<const fuse_forget_one> nodes) {
  return Message(FUSE_BATCH_FORGET, 0)
      .with(fuse_batch_forget_in{count, 0})
      .bytes(std::as_bytes(nodes));
}
inline Message interrupt(std::uint64_t unique) {
  // KERNEL: an INTERRUPT has the unique id of its target, with bit 0 set.
  return Message(FUSE_INTERRUPT, 0)
      .unique(unique | wire::kInterruptBit)
      .with(fuse_interrupt_in{unique});
}
inline Message getattr(std::uint64_t node = kRoot) {
  return Message(FUSE_GETATTR, node).with(fuse_getattr_in{});
}
inline Message setattr(std::uint64_t node, const fuse_setattr_in& in) {
  return Message(FUSE_SETATTR, node).with(in);
}
inline Message open(std::uint64_t node, int flags) {
  fuse_open_in in{};
  in.flags = static_cast<std::uint32_t>(flags);
  return Message(FUSE_OPEN, node).with(in);
}
inline Message create(std::string_view name, int flags, mode_t mode, mode_t umask = 0,
                      std::uint64_t parent = kRoot) {
  fuse_create_in in{};
  in.flags = static_cast<std::uint32_t>(flags);
  in.mode = S_IFREG | mode;
  in.umask = umask;
  return Message(FUSE_CREATE, parent).with(in).name(name);
}
inline Message read(std::uint64_t handle, std::uint64_t offset, std::uint32_t bytes,
                    std::uint32_t flags = 0) {
  fuse_read_in in{};
  in.fh = handle;
  in.offset = offset;
  in.size = bytes;
  in.flags = flags;
  return Message(FUSE_READ).with(in);
}
inline Message write(std::uint64_t handle, std::uint64_t offset, std::string_view data,
                     std::uint32_t flags = 0, std::uint32_t write_flags = 0) {
  fuse_write_in in{};
  in.fh = handle;
  in.offset = offset;
  in.size = static_cast<std::uint32_t>(data.size());
  in.flags = flags;
  in.write_flags = write_flags;
  return Message(FUSE_WRITE).with(in).text(data);
}
inline Message fsync(std::uint64_t handle, std::uint32_t flags = 0,
                     std::uint32_t opcode = FUSE_FSYNC) {
  return Message(opcode).with(fuse_fsync_in{handle, flags, 0});
}
inline Message release(std::uint64_t handle, std::uint32_t opcode = FUSE_RELEASE) {
  fuse_release_in in{};
  in.fh = handle;
  return Message(opcode).with(in);
}
inline Message opendir(std::uint64_t node = kRoot) {
  return Message(FUSE_OPENDIR, node).with(fuse_open_in{});
}
inline Message readdir(std::uint64_t handle, std::uint64_t offset, std::uint32_t bytes,
                       std::uint32_t opcode = FUSE_READDIR) {
  fuse_read_in in{};
  in.fh = handle;
  in.offset = offset;
  in.size = bytes;
  return Message(opcode).with(in);
}
inline Message mkdir(std::string_view name, mode_t mode, mode_t umask = 0,
                     std::uint64_t parent = kRoot) {
  return Message(FUSE_MKDIR, parent).with(fuse_mkdir_in{mode, umask}).name(name);
}

}  // namespace ouro::fs::requests
