// Reads, writes and fsync: they start an operation in the request's slot, whose completion is the
// reply (Server::finish_transfer). Data goes straight between the slot and the file.
#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>

#include "fs/argument_reader.hpp"
#include "fs/notifications.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

using passthrough::TransferOp;

TransferOp::Access access_of(std::uint32_t file_flags) {
  return (file_flags & O_DIRECT) != 0 ? TransferOp::Access::kDirect : TransferOp::Access::kBuffered;
}

// KERNEL(6.9): RWF_NOAPPEND is EPERM while the inode is append-only; older ones say EOPNOTSUPP.
// Both are better than a page that is appended once more.
std::uint32_t write_flags(const Connection& connection, std::uint32_t file_flags,
                          const passthrough::FileHandle& file) {
  const bool appends = (file_flags & O_APPEND) != 0;
  if (file.appends_only()) return appends ? RWF_APPEND : RWF_NOAPPEND;
  // A client that collects writes has put this one at the end, which the file here has not reached
  // before what it still holds is written back.
  const bool collects = (connection.negotiated.flags & FUSE_WRITEBACK_CACHE) != 0;
  return appends && !collects ? RWF_APPEND : 0;
}

}  // namespace

loop::Status read(OperationContext& context, passthrough::AsyncExecutor& data, Request& request) {
  fuse_read_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY_ASSIGN(auto file, context.tree.file(in.fh));
  using passthrough::AccessTime;
  file->set_access_time((in.flags & O_NOATIME) != 0 ? AccessTime::kStays : AccessTime::kMoves);
  const std::size_t bytes = std::min<std::size_t>(in.size, request.payload().size());
  const TransferOp::Access access = access_of(in.flags);
  if (access == TransferOp::Access::kDirect) request.expect_direct(bytes);
  request.transfer().start_read(data, std::move(file), access, request.payload().first(bytes),
                                static_cast<std::int64_t>(in.offset));
  return {};
}

loop::Status write(OperationContext& context, passthrough::AsyncExecutor& data, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_write_in in;
  if (!reader.read(in) || reader.rest().size() < in.size) return loop::fail(EINVAL);
  OURO_TRY_ASSIGN(auto file, context.tree.file(in.fh));
  // Pages written back by the kernel have a position of their own and any alignment, whatever the
  // flags of the handle they happen to be sent by.
  const bool write_back = (in.write_flags & FUSE_WRITE_CACHE) != 0;
  const std::uint32_t file_flags = write_back ? 0 : in.flags;
  passthrough::SetIdKiller killer;
  if ((in.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0) killer = request.caller();
  auto& credentials = request.credentials();
  const auto killing = passthrough::killing(killer, file->buffered_fd());
  credentials = write_back && !killer ? file->payer() : killing.credentials;
  request.set_changes_mode(killing.clears);
  const TransferOp::Access access = access_of(file_flags);
  if (access == TransferOp::Access::kDirect) request.expect_direct(in.size);
  // KERNEL(6.18): what kind of write it is and what the request says of it are two looks at the
  // flags of the file (fuse_file_write_iter(), fuse_write_flags()), between which fcntl(F_SETFL)
  // can change them. Only by FOPEN_DIRECT_IO is it direct whatever they are.
  using PageLocks = Request::PageLocks;
  request.set_goes_past(access == TransferOp::Access::kDirect ? file->inode().content : nullptr,
                        file->is_cached() ? PageLocks::kPossible : PageLocks::kNone);
  const std::uint32_t rw_flags = write_flags(context.connection, file_flags, *file);
  // KERNEL(6.18): what is written back is all stored to the client, whatever number it is told
  // (fuse_writepage_end()), so that the end of a full disk would be lost without an error.
  const auto cut_short =
      write_back ? TransferOp::CutShort::kTellsError : TransferOp::CutShort::kTellsBytes;
  request.transfer().start_write(data, std::move(file), access, reader.rest().first(in.size),
                                 static_cast<std::int64_t>(in.offset), rw_flags,
                                 credentials ? &*credentials : nullptr, cut_short);
  return {};
}

Reply finish_write(OperationContext& context, Request& request) {
  fuse_write_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  passthrough::ContentHistory& content = *request.goes_past();
  const std::uint64_t node = request.header().nodeid;
  // Where it was appended, the client does not say.
  if (content.is_open_cached() && (in.flags & O_APPEND) == 0) {
    drop_pages(context.notifier, node, in.offset, in.size);
  } else {
    drop_pages(context.notifier, node);
    content.all_pages_dropped();
  }
  return sizeof(fuse_write_out);
}

loop::Status fsync(OperationContext& context, passthrough::AsyncExecutor& data, Request& request) {
  fuse_fsync_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY_ASSIGN(auto file, context.tree.file(in.fh));
  const bool data_only = (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0;
  request.transfer().start_sync(data, std::move(file),
                                data_only ? TransferOp::Sync::kDataOnly : TransferOp::Sync::kAll);
  return {};
}

}  // namespace ouro::fs::operations
