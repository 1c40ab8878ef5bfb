// Operations on open files but for the transfer of data: opening and closing, space, positions.
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <limits>

#include "fs/argument_reader.hpp"
#include "fs/client_pages.hpp"
#include "fs/creator.hpp"
#include "fs/encode.hpp"
#include "fs/kernel_backing.hpp"
#include "fs/notifications.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

constexpr std::uint32_t kKeepsPages = FOPEN_KEEP_CACHE;

std::uint32_t open_flags(const Connection& connection, std::uint32_t client_flags,
                         const passthrough::FileHandle& file) {
  std::uint32_t flags = connection.cache.file_open_flags;
  const std::uint64_t negotiated = connection.negotiated.flags;
  // One that CREATE has found there, and somebody else in it.
  const auto& content = file.inode().content;
  if (content && content->foreign_change() != 0) flags &= ~kKeepsPages;
  // A cached page is written back at its position, which an append-only file refuses.
  if ((client_flags & O_APPEND) != 0 && file.appends_only()) flags |= FOPEN_DIRECT_IO;
  // No FLUSH per close() where it would tell nothing and unlock nothing.
  // KERNEL(5.16): before, it comes all the same, and so it does with the write-back cache.
  const bool flush_unlocks = (negotiated & FUSE_POSIX_LOCKS) != 0;
  if (!file.close_can_fail() && !flush_unlocks) flags |= FOPEN_NOFLUSH;
  // Without these the kernel would run the direct writes to one file one after another.
  // KERNEL(6.6): with them it refuses shared mappings, unless that flag is in force. Natively a
  // file that was opened with O_DIRECT can be mapped like any other.
  const bool maps = (negotiated & wire::kDirectIoAllowMmap) != 0;
  // KERNEL: a client that keeps the times of files itself forgets them where FOPEN_DIRECT_IO is on
  // (fuse_direct_write_iter()).
  const bool keeps_times = (negotiated & FUSE_WRITEBACK_CACHE) != 0;
  if (maps && !keeps_times && (client_flags & O_DIRECT) != 0) {
    flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  }
  return flags;
}

passthrough::SetIdKiller flagged_killer(std::uint32_t flags, const Request& request) {
  if ((flags & FUSE_OPEN_KILL_SUIDGID) == 0) return std::nullopt;
  return request.caller();
}

// KERNEL: no flag travels with FALLOCATE and COPY_FILE_RANGE; with HANDLE_KILLPRIV_V2 the client
// leaves the set-id bits to us.
passthrough::SetIdKiller unflagged_killer(const OperationContext& context, const Request& request) {
  const bool ours = (context.connection.negotiated.flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
  if (!ours) return std::nullopt;
  return request.caller();
}

// KERNEL(5.13): from 7.34 on the client checks who may set flags and attributes by these ioctls
// (vfs_fileattr_set()); before, it leaves that to us, who cannot.
constexpr std::uint32_t kFirstMinorThatChecksIoctls = 34;

bool sets(std::uint32_t command) {
  return (_IOC_DIR(command) & _IOC_WRITE) != 0;
}

bool is_for_anybody(const OperationContext& context, std::uint32_t command) {
  return sets(command) && context.connection.negotiated.kernel_minor < kFirstMinorThatChecksIoctls;
}

// KERNEL(6.18): after a change of a file's content the client asks anew for size and times, but not
// for the mode, which may have lost set-id bits. After one that has failed it asks for nothing,
// though times and mode may have changed by then (a copy that O_DIRECT refuses for its alignment).
bool may_change_mode(const OperationContext& context, passthrough::FileHandleId handle,
                     const passthrough::SetIdKiller& killer) {
  if (!killer) return false;
  const auto file = context.tree.file(handle);
  return file && passthrough::has_set_id_bits((*file)->buffered_fd());
}

// Of a file that `opener` has just opened with `client_flags`. True: the client is not to keep what
// it knows of the file.
bool encode_opened(const OperationContext& context, passthrough::FileHandleId handle,
                   const passthrough::Caller& opener, std::uint32_t client_flags,
                   fuse_open_out& out) {
  out.fh = handle;
  const auto file = context.tree.file(handle);
  if (!file) return false;  // released meanwhile, by a broken client
  (*file)->set_opener(opener.uid, opener.gid);
  out.open_flags = open_flags(context.connection, client_flags, **file);
  KernelBacking* const kernel = context.connection.kernel_backing;
  const bool unseen = kernel != nullptr && kernel->answer_open(**file, opener, client_flags, out);
  constexpr std::uint32_t kPastPages = FOPEN_DIRECT_IO | wire::kOpenPassthrough;
  if ((out.open_flags & kPastPages) == 0) (*file)->set_cached();
  return unseen;
}

struct CreateOut {
  fuse_entry_out entry;
  fuse_open_out open;
};
static_assert(sizeof(CreateOut) == sizeof(fuse_entry_out) + sizeof(fuse_open_out));

Reply reply_created(OperationContext& context, Request& request, std::uint32_t client_flags,
                    const loop::Result<passthrough::CreatedFile>& created) {
  if (!created) return tl::unexpected(created.error());
  const passthrough::Caller opener = request.caller();
  auto& out = request.reply_struct<CreateOut>();
  passthrough::Entry entry = created->entry;
  if (encode_opened(context, created->handle, opener, client_flags, out.open)) {
    entry.changes_unseen = true;
  }
  encode(entry, context.connection.cache, out.entry);
  return sizeof out;
}

Reply copy(OperationContext& context, Request& request) {
  fuse_copy_file_range_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  // No more than the 32-bit reply of the older opcode can tell.
  constexpr std::uint64_t kMostBytes = std::numeric_limits<std::int32_t>::max() & ~0xfffLL;
  const auto killer = unflagged_killer(context, request);
  const bool changes_mode = may_change_mode(context, in.fh_out, killer);
  const auto copied = context.tree.copy_file_range(
      context.executor, in.fh_in, static_cast<std::int64_t>(in.off_in), in.fh_out,
      static_cast<std::int64_t>(in.off_out),
      static_cast<std::size_t>(std::min<std::uint64_t>(in.len, kMostBytes)),
      static_cast<unsigned>(in.flags), killer);
  if (changes_mode || !copied) drop_attributes(context.notifier, in.nodeid_out);
  return copied;
}

}  // namespace

Reply open(OperationContext& context, Request& request) {
  fuse_open_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const std::uint64_t node = request.header().nodeid;
  if (!settle_pages(context, node)) return ask_for_worker(request);
  const auto killer = flagged_killer(in.open_flags, request);
  OURO_TRY_ASSIGN(const auto handle,
                  context.tree.open(context.executor, node, static_cast<int>(in.flags), killer));
  const passthrough::Caller opener = request.caller();
  auto& out = request.reply_struct<fuse_open_out>();
  const bool unseen = encode_opened(context, handle, opener, in.flags, out);
  if (killer || unseen) drop_attributes(context.notifier, node);
  return sizeof out;
}

void undo_open(OperationContext& context, Request& request) {
  fuse_open_out out;
  if (!ArgumentReader(request.reply_payload()).read(out)) return;
  context.closer.close(context.tree.release(out.fh));
}

Reply create(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_create_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  const char* name = reader.name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_created(
      context, request, in.flags,
      context.tree.create(context.executor, request.header().nodeid, name,
                          static_cast<int>(in.flags),
                          passthrough::Creation{in.mode, in.umask, creator(context, request)},
                          flagged_killer(in.open_flags, request)));
}

Reply tmpfile(OperationContext& context, Request& request) {
  fuse_create_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  return reply_created(
      context, request, in.flags,
      context.tree.tmpfile(context.executor, request.header().nodeid, static_cast<int>(in.flags),
                           passthrough::Creation{in.mode, in.umask, creator(context, request)}));
}

void undo_create(OperationContext& context, Request& request) {
  CreateOut out;
  if (!ArgumentReader(request.reply_payload()).read(out)) return;
  context.closer.close(context.tree.release(out.open.fh));
  context.closer.close(context.tree.forget(out.entry.nodeid, 1));
}

Reply flush(OperationContext& context, Request& request) {
  fuse_flush_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const loop::Status flushed = context.tree.flush(context.executor, in.fh);
  // Natively it is the close() that unlocks, whatever it returns.
  const auto file = context.tree.file(in.fh);
  if (file) context.tree.locks().close_owner(**file, in.lock_owner);
  OURO_TRY(flushed);
  return 0;
}

Reply release(OperationContext& context, Request& request) {
  fuse_release_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  using Flock = passthrough::FileLocks::Flock;
  const bool unlocks = (in.release_flags & FUSE_RELEASE_FLOCK_UNLOCK) != 0;
  auto file = context.tree.release(in.fh);
  const passthrough::FileHandle* opened = file.get();
  auto left =
      context.tree.locks().release(std::move(file), in.fh, unlocks ? Flock::kUnlock : Flock::kNone);
  if (left.get() != opened) opened = nullptr;  // there are locks to give up as well
  context.closer.close(std::move(left), opened);
  return 0;
}

Reply fallocate(OperationContext& context, Request& request) {
  fuse_fallocate_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const auto killer = unflagged_killer(context, request);
  const bool changes_mode = may_change_mode(context, in.fh, killer);
  const auto done = context.tree.fallocate(context.executor, in.fh, static_cast<int>(in.mode),
                                           static_cast<std::int64_t>(in.offset),
                                           static_cast<std::int64_t>(in.length), killer);
  if (changes_mode || !done) drop_attributes(context.notifier, request.header().nodeid);
  OURO_TRY(done);
  return 0;
}

Reply lseek(OperationContext& context, Request& request) {
  fuse_lseek_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY_ASSIGN(const std::int64_t offset,
                  context.tree.lseek(context.executor, in.fh, static_cast<std::int64_t>(in.offset),
                                     static_cast<int>(in.whence)));
  request.reply_struct<fuse_lseek_out>().offset = static_cast<std::uint64_t>(offset);
  return sizeof(fuse_lseek_out);
}

Reply copy_file_range(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const std::size_t copied, copy(context, request));
  request.reply_struct<fuse_write_out>().size = static_cast<std::uint32_t>(copied);
  return sizeof(fuse_write_out);
}

Reply copy_file_range_64(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const std::size_t copied, copy(context, request));
  request.reply_struct<wire::CopyFileRangeOut>().bytes_copied = copied;
  return sizeof(wire::CopyFileRangeOut);
}

Reply ioctl(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_ioctl_in in;
  if (!reader.read(in) || reader.rest().size() < in.in_size) return loop::fail(EINVAL);
  if (is_for_anybody(context, in.cmd)) return loop::fail(ENOTTY);
  if (in.out_size > request.payload().size() - sizeof(fuse_ioctl_out)) return loop::fail(EINVAL);
  int fd = -1;
  std::shared_ptr<passthrough::FileHandle> file;      // pins fd
  std::shared_ptr<passthrough::DirHandle> directory;  // pins fd
  if ((in.flags & FUSE_IOCTL_DIR) != 0) {
    OURO_TRY_ASSIGN(directory, context.tree.directory(in.fh));
    fd = directory->fd();
  } else {
    OURO_TRY_ASSIGN(file, context.tree.file(in.fh));
    fd = file->buffered_fd();
  }
  // The argument is copied: the result is written where it may lie. No allowed one is larger.
  std::byte argument[64]{};
  if (in.in_size > sizeof argument) return loop::fail(ENOTTY);
  std::copy_n(reader.rest().begin(), in.in_size, argument);
  const auto out_space = request.payload().subspan(sizeof(fuse_ioctl_out), in.out_size);
  OURO_TRY_ASSIGN(const std::size_t out_bytes,
                  passthrough::Tree::ioctl(context.executor, fd, in.cmd,
                                           std::span(argument).first(in.in_size), out_space));
  // KERNEL(6.18): the client keeps the ctime that it has.
  if (sets(in.cmd)) drop_attributes(context.notifier, request.header().nodeid);
  static_cast<void>(request.reply_struct<fuse_ioctl_out>());
  return sizeof(fuse_ioctl_out) + out_bytes;
}

}  // namespace ouro::fs::operations
