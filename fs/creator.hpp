// Who makes an inode.
#pragma once

#include "fs/opcode_table.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::fs {

// The caller of a request that makes an inode in its node, with the one supplementary group that
// decides something: the parent's, if the caller is in it. Before Linux 6.3 the request does not
// carry it (FUSE_CREATE_SUPP_GROUP), and it is looked up in /proc.
[[nodiscard]] passthrough::Caller creator(OperationContext& context, const Request& request);

}  // namespace ouro::fs
