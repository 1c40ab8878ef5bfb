#include "fs/creator.hpp"

#include "fs/protocol.hpp"
#include "passthrough/task_status.hpp"

namespace ouro::fs {

passthrough::Caller creator(OperationContext& context, const Request& request) {
  passthrough::Caller caller = request.caller();
  const bool sent = (context.connection.negotiated.flags & wire::kCreateSuppGroup) != 0;
  if (sent || caller.uid == 0) return caller;
  const auto parent =
      context.tree.attributes(context.executor, request.header().nodeid, 0, STATX_GID);
  if (!parent || parent->stx_gid == caller.gid) return caller;
  if (passthrough::is_member(caller.pid, parent->stx_gid)) caller.extra_group = parent->stx_gid;
  return caller;
}

}  // namespace ouro::fs
