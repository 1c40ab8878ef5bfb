// Operations on names: lookup and forget, making and removing entries, links and renames.
#include <sys/sysmacros.h>

#include <cstdio>
#include <cstring>

#include "fs/argument_reader.hpp"
#include "fs/client_pages.hpp"
#include "fs/creator.hpp"
#include "fs/encode.hpp"
#include "fs/notifications.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

using passthrough::Creation;
using passthrough::Entry;

Reply reply_entry(OperationContext& context, Request& request, const loop::Result<Entry>& entry) {
  if (!entry) return tl::unexpected(entry.error());
  encode(*entry, context.connection.cache, request.reply_struct<fuse_entry_out>());
  return sizeof(fuse_entry_out);
}

Reply reply_empty(const loop::Status& status) {
  if (!status) return tl::unexpected(status.error());
  return 0;
}

// KERNEL: the inverse of new_encode_dev().
dev_t decode_device(std::uint32_t device) {
  return ::makedev(device >> 8 & 0xfffU, (device & 0xffU) | (device >> 12 & 0xfff00U));
}

Reply rename_entry(OperationContext& context, Request& request, std::uint64_t new_parent,
                   unsigned flags, ArgumentReader& reader) {
  const char* name = reader.name();
  const char* new_name = reader.name();
  if (name == nullptr || new_name == nullptr) return loop::fail(EINVAL);
  const std::uint64_t parent = request.header().nodeid;
  const auto renamed = context.tree.rename(context.executor, parent, name, new_parent, new_name,
                                           flags, request.caller());
  // Before it fails, it may have put a whiteout there and taken it away again (ext4), which moves
  // times; the client asks for nothing anew.
  if (!renamed && (flags & RENAME_WHITEOUT) != 0) drop_attributes(context.notifier, parent);
  return reply_empty(renamed);
}

// KERNEL: by "." and ".." the client asks for what file handles name (fuse_get_dentry(),
// fuse_get_parent()), and only where FUSE_EXPORT_SUPPORT is in force.
loop::Result<Entry> find(OperationContext& context, std::uint64_t parent, const char* name) {
  if ((context.connection.negotiated.flags & FUSE_EXPORT_SUPPORT) != 0) {
    if (std::strcmp(name, ".") == 0) return context.tree.find_again(context.executor, parent);
    if (std::strcmp(name, "..") == 0) return context.tree.lookup_parent(context.executor, parent);
  }
  return context.tree.lookup(context.executor, parent, name);
}

}  // namespace

Reply lookup(OperationContext& context, Request& request) {
  const char* name = ArgumentReader(request.arguments()).name();
  if (name == nullptr) return loop::fail(EINVAL);
  const auto entry = find(context, request.header().nodeid, name);
  const CachePolicy& cache = context.connection.cache;
  if (!entry && entry.error().value() == ENOENT && cache.negative_timeout_ns > 0) {
    encode_negative(cache, request.reply_struct<fuse_entry_out>());
    return sizeof(fuse_entry_out);
  }
  if (entry && !settle_pages(context, entry->node)) {
    context.closer.close(context.tree.forget(entry->node, 1));
    return ask_for_worker(request);
  }
  return reply_entry(context, request, entry);
}

void undo_entry(OperationContext& context, Request& request) {
  fuse_entry_out entry;
  if (!ArgumentReader(request.reply_payload()).read(entry) || entry.nodeid == 0) return;
  context.closer.close(context.tree.forget(entry.nodeid, 1));
}

void forget(OperationContext& context, const Request& request) {
  fuse_forget_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return;
  context.closer.close(context.tree.forget(request.header().nodeid, in.nlookup));
}

void batch_forget(OperationContext& context, const Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_batch_forget_in in;
  if (!reader.read(in)) return;
  fuse_forget_one one;
  // As many as there really are, whatever the count says.
  for (std::uint32_t i = 0; i < in.count && reader.read(one); ++i) {
    context.closer.close(context.tree.forget(one.nodeid, one.nlookup));
  }
}

Reply readlink(OperationContext& context, Request& request) {
  return context.tree.readlink(context.executor, request.header().nodeid, request.payload());
}

Reply symlink(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  const char* name = reader.name();
  const char* target = reader.name();
  if (name == nullptr || target == nullptr) return loop::fail(EINVAL);
  const Creation creation{.caller = creator(context, request)};
  return reply_entry(
      context, request,
      context.tree.symlink(context.executor, request.header().nodeid, name, target, creation));
}

Reply mknod(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_mknod_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  const char* name = reader.name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_entry(context, request,
                     context.tree.mknod(context.executor, request.header().nodeid, name,
                                        Creation{in.mode, in.umask, creator(context, request)},
                                        decode_device(in.rdev)));
}

Reply mkdir(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_mkdir_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  const char* name = reader.name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_entry(context, request,
                     context.tree.mkdir(context.executor, request.header().nodeid, name,
                                        Creation{in.mode, in.umask, creator(context, request)}));
}

Reply unlink(OperationContext& context, Request& request) {
  const char* name = ArgumentReader(request.arguments()).name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_empty(context.tree.unlink(context.executor, request.header().nodeid, name));
}

Reply rmdir(OperationContext& context, Request& request) {
  const char* name = ArgumentReader(request.arguments()).name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_empty(context.tree.rmdir(context.executor, request.header().nodeid, name));
}

Reply rename(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_rename_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  return rename_entry(context, request, in.newdir, 0, reader);
}

Reply rename2(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_rename2_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  return rename_entry(context, request, in.newdir, in.flags, reader);
}

Reply link(OperationContext& context, Request& request) {
  ArgumentReader reader(request.arguments());
  fuse_link_in in;
  if (!reader.read(in)) return loop::fail(EINVAL);
  const char* name = reader.name();
  if (name == nullptr) return loop::fail(EINVAL);
  return reply_entry(context, request,
                     context.tree.link(context.executor, in.oldnodeid, request.header().nodeid,
                                       name, request.caller()));
}

}  // namespace ouro::fs::operations
