// Operations on attributes: stat, chmod and its like, statfs, access, extended attributes.
#include <fcntl.h>
#include <linux/xattr.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/argument_reader.hpp"
#include "fs/client_pages.hpp"
#include "fs/encode.hpp"
#include "fs/notifications.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

constexpr unsigned kAttributeMask = STATX_BASIC_STATS;

// For how long the client may keep the attributes of the request's node.
std::uint64_t attribute_timeout_ns(const OperationContext& context, const Request& request) {
  const bool unseen = context.tree.changes_unseen(request.header().nodeid);
  return unseen ? 0 : context.connection.cache.attribute_timeout_ns;
}

Reply reply_attributes(std::uint64_t timeout_ns, Request& request,
                       const loop::Result<struct ::statx>& stat) {
  if (!stat) return tl::unexpected(stat.error());
  auto& out = request.reply_struct<fuse_attr_out>();
  encode_timeout(timeout_ns, out.attr_valid, out.attr_valid_nsec);
  encode(*stat, out.attr);
  return sizeof out;
}

timespec decode_time(std::uint32_t valid, std::uint32_t now_bit, std::uint64_t seconds,
                     std::uint32_t nanoseconds) {
  if ((valid & now_bit) != 0) return {0, UTIME_NOW};
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

bool changes_nothing(const fuse_setattr_in& in) {
  constexpr std::uint32_t kChanges =
      FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME;
  return (in.valid & kChanges) == 0;
}

passthrough::AttributeChanges decode_changes(const fuse_setattr_in& in, const Request& request) {
  passthrough::AttributeChanges changes;
  if ((in.valid & FATTR_MODE) != 0) changes.mode = in.mode;
  if ((in.valid & FATTR_UID) != 0) changes.uid = in.uid;
  if ((in.valid & FATTR_GID) != 0) changes.gid = in.gid;
  if ((in.valid & FATTR_SIZE) != 0) changes.size = static_cast<std::int64_t>(in.size);
  if ((in.valid & FATTR_ATIME) != 0) {
    changes.atime = decode_time(in.valid, FATTR_ATIME_NOW, in.atime, in.atimensec);
  }
  if ((in.valid & FATTR_MTIME) != 0) {
    changes.mtime = decode_time(in.valid, FATTR_MTIME_NOW, in.mtime, in.mtimensec);
  }
  // FATTR_CTIME (write-back cache only) has no system call: the source keeps its own ctime.
  // A change of nothing is chown(path, -1, -1), which clears set-id bits without being flagged.
  if ((in.valid & FATTR_KILL_SUIDGID) != 0 || changes_nothing(in))
    changes.killer = request.caller();
  return changes;
}

// The reply of the two xattr reads: the size if that was the question, else the bytes.
Reply reply_xattr(Request& request, std::uint32_t asked_bytes, const Reply& bytes) {
  if (!bytes || asked_bytes != 0) return bytes;
  request.reply_struct<fuse_getxattr_out>().size = static_cast<std::uint32_t>(*bytes);
  return sizeof(fuse_getxattr_out);
}

std::span<std::byte> xattr_space(Request& request, std::uint32_t asked_bytes) {
  return request.payload().first(std::min<std::size_t>(asked_bytes, request.payload().size()));
}

}  // namespace

Reply getattr(OperationContext& context, Request& request) {
  // The O_PATH descriptor of the inode answers for unlinked files too, so the fh is not needed.
  const std::uint64_t node = request.header().nodeid;
  const auto stat = context.tree.attributes(context.executor, node, 0, kAttributeMask);
  if (!settle_pages(context, node)) return ask_for_worker(request);
  return reply_attributes(attribute_timeout_ns(context, request), request, stat);
}

Reply setattr(OperationContext& context, Request& request) {
  fuse_setattr_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  std::optional<passthrough::FileHandleId> handle;
  if ((in.valid & FATTR_FH) != 0) handle = in.fh;
  // KERNEL(6.18): a change of nothing comes before a write that clears set-id bits. Where the write
  // does not come to us, nothing else tells the client of the mode that it leaves.
  const bool begins_write = changes_nothing(in) && context.connection.kernel_backing != nullptr;
  const auto changed = context.tree.change_attributes(context.executor, request.header().nodeid,
                                                      handle, decode_changes(in, request));
  return reply_attributes(begins_write ? 0 : attribute_timeout_ns(context, request), request,
                          changed);
}

Reply statx(OperationContext& context, Request& request) {
  wire::StatxIn in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const unsigned sync = in.sx_flags & AT_STATX_SYNC_TYPE;
  OURO_TRY_ASSIGN(const auto stat,
                  context.tree.attributes(context.executor, request.header().nodeid, sync,
                                          in.sx_mask | STATX_BASIC_STATS));
  if (!settle_pages(context, request.header().nodeid)) return ask_for_worker(request);
  auto& out = request.reply_struct<wire::StatxOut>();
  encode_timeout(attribute_timeout_ns(context, request), out.attr_valid, out.attr_valid_nsec);
  encode(stat, out.stat);
  return sizeof out;
}

Reply access(OperationContext& context, Request& request) {
  fuse_access_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY(context.tree.access(context.executor, request.header().nodeid, static_cast<int>(in.mask),
                               request.caller()));
  return 0;
}

Reply statfs(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const auto stat, context.tree.statfs(context.executor, request.header().nodeid));
  fuse_kstatfs& out = request.reply_struct<fuse_statfs_out>().st;
  out.blocks = stat.f_blocks;
  out.bfree = stat.f_bfree;
  out.bavail = stat.f_bavail;
  out.files = stat.f_files;
  out.ffree = stat.f_ffree;
  out.bsize = static_cast<std::uint32_t>(stat.f_bsize);
  out.frsize = static_cast<std::uint32_t>(stat.f_frsize);
  out.namelen = static_cast<std::uint32_t>(stat.f_namemax);
  return sizeof(fuse_statfs_out);
}

Reply getxattr(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_getxattr_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  const char* name = reader.name();
  if (name == nullptr) return loop::fail(EINVAL);
  // Copied: the value is written where the name may lie.
  std::array<char, XATTR_NAME_MAX + 1> name_copy{};
  const std::size_t name_bytes = std::strlen(name);
  if (name_bytes > XATTR_NAME_MAX) return loop::fail(ERANGE);
  std::copy_n(name, name_bytes, name_copy.begin());
  return reply_xattr(request, in.size,
                     context.tree.getxattr(context.executor, request.header().nodeid,
                                           name_copy.data(), xattr_space(request, in.size)));
}

Reply listxattr(OperationContext& context, Request& request) {
  fuse_getxattr_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  return reply_xattr(request, in.size,
                     context.tree.listxattr(context.executor, request.header().nodeid,
                                            request.caller(), xattr_space(request, in.size)));
}

Reply setxattr(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_setxattr_in in{};
  if ((context.connection.negotiated.flags & FUSE_SETXATTR_EXT) != 0) {
    if (!reader.read(in)) return loop::fail(EINVAL);
  } else if (!reader.read(in.size) || !reader.read(in.flags)) {
    return loop::fail(EINVAL);
  }
  const char* name = reader.name();
  if (name == nullptr || reader.rest().size() < in.size) return loop::fail(EINVAL);
  const std::uint64_t node = request.header().nodeid;
  // Every write to a file takes its capability away. Those that the client holds, collected or made
  // through a mapping, would come after it (KERNEL(6.18): fuse_setxattr() writes nothing back). To
  // drop its pages makes it send them.
  if (std::strcmp(name, XATTR_NAME_CAPS) == 0) {
    if (!context.in_worker) return ask_for_worker(request);
    drop_pages(context.notifier, node);
  }
  const passthrough::Caller caller = request.caller();
  passthrough::SetIdKiller killer;
  if ((in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0) killer = caller;
  OURO_TRY(context.tree.setxattr(context.executor, node, name, reader.rest().first(in.size),
                                 static_cast<int>(in.flags), killer, caller));
  return 0;
}

Reply removexattr(OperationContext& context, Request& request) {
  const char* name = ArgumentReader(request.arguments()).name();
  if (name == nullptr) return loop::fail(EINVAL);
  OURO_TRY(context.tree.removexattr(context.executor, request.header().nodeid, name));
  return 0;
}

}  // namespace ouro::fs::operations
