// Locks, where they are the source's (locks=remote). Otherwise the kernel keeps them, and none of
// these requests comes.
#include <fcntl.h>

#include <optional>

#include "fs/argument_reader.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

using passthrough::LockKind;
using passthrough::LockType;

std::optional<LockType> lock_type(std::uint32_t type) {
  switch (type) {
    case F_RDLCK:
      return LockType::kRead;
    case F_WRLCK:
      return LockType::kWrite;
    case F_UNLCK:
      return LockType::kNone;
    default:
      return std::nullopt;
  }
}

std::uint32_t wire_type(LockType type) {
  return type == LockType::kRead ? F_RDLCK : F_WRLCK;
}

loop::Result<passthrough::LockRequest> decode(OperationContext& context, const Request& request) {
  fuse_lk_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const auto type = lock_type(in.lk.type);
  if (!type || in.lk.end > passthrough::kLastByte || in.lk.start > in.lk.end) {
    return loop::fail(EINVAL);
  }
  OURO_TRY_ASSIGN(auto file, context.tree.file(in.fh));
  const bool whole_file = (in.lk_flags & FUSE_LK_FLOCK) != 0;
  return passthrough::LockRequest{.file = std::move(file),
                                  .handle = in.fh,
                                  .kind = whole_file ? LockKind::kWholeFile : LockKind::kRanges,
                                  .owner = in.owner,
                                  .pid = static_cast<pid_t>(in.lk.pid),
                                  .lock = {*type, in.lk.start, in.lk.end}};
}

}  // namespace

Reply getlk(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const auto wanted, decode(context, request));
  OURO_TRY_ASSIGN(const auto held, context.tree.locks().conflict(wanted));
  auto& out = request.reply_struct<fuse_lk_out>();
  out.lk.type = F_UNLCK;
  if (held) {
    out.lk = {held->lock.first, held->lock.last, wire_type(held->lock.type),
              static_cast<std::uint32_t>(held->pid)};
  }
  return sizeof out;
}

Reply setlk(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const auto wanted, decode(context, request));
  OURO_TRY(context.tree.locks().lock(wanted));
  return 0;
}

Reply setlkw(OperationContext& context, Request& request) {
  OURO_TRY_ASSIGN(const auto wanted, decode(context, request));
  OURO_TRY_ASSIGN(const auto wait, context.tree.locks().lock_or_wait(
                                       wanted, request.header().unique, context.lock_listener));
  if (wait == passthrough::LockWait::kBegun) request.leave_open();
  return 0;
}

}  // namespace ouro::fs::operations
