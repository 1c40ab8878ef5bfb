// The handlers of the opcode table, grouped in one source file per family. Each decodes its
// arguments, calls the tree, and encodes the reply into the request's payload.
#pragma once

#include "fs/opcode_table.hpp"

namespace ouro::fs::operations {

// The reply of a handler that cannot go on in the loop's thread: it will be run again.
inline Reply ask_for_worker(Request& request) {
  request.ask_for_worker();
  return 0;
}

// operations_names.cpp
Reply lookup(OperationContext& context, Request& request);
Reply readlink(OperationContext& context, Request& request);
Reply symlink(OperationContext& context, Request& request);
Reply mknod(OperationContext& context, Request& request);
Reply mkdir(OperationContext& context, Request& request);
Reply unlink(OperationContext& context, Request& request);
Reply rmdir(OperationContext& context, Request& request);
Reply rename(OperationContext& context, Request& request);
Reply rename2(OperationContext& context, Request& request);
Reply link(OperationContext& context, Request& request);
void undo_entry(OperationContext& context, Request& request);
void forget(OperationContext& context, const Request& request);
void batch_forget(OperationContext& context, const Request& request);

// operations_attributes.cpp
Reply getattr(OperationContext& context, Request& request);
Reply setattr(OperationContext& context, Request& request);
Reply statx(OperationContext& context, Request& request);
Reply access(OperationContext& context, Request& request);
Reply statfs(OperationContext& context, Request& request);
Reply getxattr(OperationContext& context, Request& request);
Reply setxattr(OperationContext& context, Request& request);
Reply listxattr(OperationContext& context, Request& request);
Reply removexattr(OperationContext& context, Request& request);

// operations_files.cpp
Reply open(OperationContext& context, Request& request);
Reply create(OperationContext& context, Request& request);
Reply tmpfile(OperationContext& context, Request& request);
void undo_open(OperationContext& context, Request& request);
void undo_create(OperationContext& context, Request& request);
Reply flush(OperationContext& context, Request& request);
Reply release(OperationContext& context, Request& request);
Reply fallocate(OperationContext& context, Request& request);
Reply lseek(OperationContext& context, Request& request);
Reply copy_file_range(OperationContext& context, Request& request);
Reply copy_file_range_64(OperationContext& context, Request& request);
Reply ioctl(OperationContext& context, Request& request);

// operations_locks.cpp
Reply getlk(OperationContext& context, Request& request);
Reply setlk(OperationContext& context, Request& request);
Reply setlkw(OperationContext& context, Request& request);

// operations_data.cpp
loop::Status read(OperationContext& context, passthrough::AsyncExecutor& data, Request& request);
loop::Status write(OperationContext& context, passthrough::AsyncExecutor& data, Request& request);
// Of a direct WRITE that is done, where the client may have pages of the file: drops them.
[[nodiscard]] Reply finish_write(OperationContext& context, Request& request);
loop::Status fsync(OperationContext& context, passthrough::AsyncExecutor& data, Request& request);

// operations_directories.cpp
Reply opendir(OperationContext& context, Request& request);
void undo_opendir(OperationContext& context, Request& request);
Reply readdir(OperationContext& context, Request& request);
Reply readdirplus(OperationContext& context, Request& request);
void undo_readdirplus(OperationContext& context, Request& request);
Reply releasedir(OperationContext& context, Request& request);
Reply fsyncdir(OperationContext& context, Request& request);

}  // namespace ouro::fs::operations
