// Operations on open directories. Entries go from getdents64 into the reply; READDIRPLUS looks
// each of them up on the way, and counts one lookup for every entry that the reply names.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/argument_reader.hpp"
#include "fs/client_pages.hpp"
#include "fs/directory_packer.hpp"
#include "fs/encode.hpp"
#include "fs/operations.hpp"

namespace ouro::fs::operations {
namespace {

// Raw records are read to the stack first, because packing them makes them longer.
constexpr std::size_t kRawBytes = std::size_t{16} * 1024;
// One record with the longest name.
constexpr std::size_t kLongestRawBytes = 280;

struct RawEntry {
  std::uint64_t inode = 0;
  std::uint64_t next_offset = 0;
  std::uint32_t type = 0;
  const char* name = nullptr;  // NUL-terminated
};

// Takes the next linux_dirent64 off `records`, which the kernel has filled.
RawEntry take_entry(std::span<const std::byte>& records) {
  struct Header {  // getdents64(2)
    std::uint64_t d_ino;
    std::int64_t d_off;
    std::uint16_t d_reclen;
    std::uint8_t d_type;
  } header;
  std::memcpy(&header, records.data(), offsetof(Header, d_type) + 1);
  RawEntry entry{header.d_ino, static_cast<std::uint64_t>(header.d_off), header.d_type,
                 reinterpret_cast<const char*>(records.data()) + offsetof(Header, d_type) + 1};
  records = records.subspan(header.d_reclen);
  return entry;
}

bool is_dot(const char* name) {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

// Reads entries from `in.offset` on and gives each to `pack`, until that returns false.
template <typename Pack>
Reply read_entries(OperationContext& context, const fuse_read_in& in, std::size_t raw_bytes,
                   DirectoryPacker& packer, Pack&& pack) {
  OURO_TRY_ASSIGN(const auto directory, context.tree.directory(in.fh));
  alignas(8) std::array<std::byte, kRawBytes> raw;
  const std::size_t wanted = std::clamp(raw_bytes, kLongestRawBytes, kRawBytes);
  using passthrough::AccessTime;
  const auto access_time = (in.flags & O_NOATIME) != 0 ? AccessTime::kStays : AccessTime::kMoves;
  const loop::KernelResult got = context.executor.call([&] {
    return directory->read(static_cast<std::int64_t>(in.offset), std::span(raw).first(wanted),
                           access_time);
  });
  if (got < 0) return loop::fail(static_cast<int>(-got));
  auto records = std::span<const std::byte>(raw).first(static_cast<std::size_t>(got));
  while (!records.empty()) {
    if (!pack(*directory, take_entry(records))) break;
  }
  return packer.used();
}

}  // namespace

Reply opendir(OperationContext& context, Request& request) {
  fuse_open_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY_ASSIGN(const auto handle, context.tree.opendir(context.executor, request.header().nodeid,
                                                          static_cast<int>(in.flags)));
  auto& out = request.reply_struct<fuse_open_out>();
  out.fh = handle;
  out.open_flags = context.connection.cache.directory_open_flags;
  return sizeof out;
}

void undo_opendir(OperationContext& context, Request& request) {
  fuse_open_out out;
  if (!ArgumentReader(request.reply_payload()).read(out)) return;
  context.closer.close(context.tree.releasedir(out.fh));
}

Reply readdir(OperationContext& context, Request& request) {
  fuse_read_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const std::size_t space = std::min<std::size_t>(in.size, request.payload().size());
  DirectoryPacker packer(request.payload().first(space));
  return read_entries(context, in, space, packer,
                      [&](const passthrough::DirHandle& directory, const RawEntry& entry) {
                        const std::string_view name(entry.name);
                        if (!packer.fits(0, name.size())) return false;
                        packer.add({}, context.tree.shown_inode(directory, entry.inode),
                                   entry.next_offset, entry.type, name);
                        return true;
                      });
}

Reply readdirplus(OperationContext& context, Request& request) {
  fuse_read_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  const std::size_t space = std::min<std::size_t>(in.size, request.payload().size());
  const passthrough::NodeId parent = request.header().nodeid;
  DirectoryPacker packer(request.payload().first(space));
  // A packed entry is at least four times as long as a raw one of a short name.
  return read_entries(context, in, space / 4, packer,
                      [&](const passthrough::DirHandle& directory, const RawEntry& entry) {
                        const std::string_view name(entry.name);
                        fuse_entry_out out{};
                        if (!packer.fits(sizeof out, name.size())) return false;
                        std::uint64_t inode = context.tree.shown_inode(directory, entry.inode);
                        // Not more inodes where there are too many already.
                        if (!is_dot(entry.name) && !context.tree.is_crowded()) {
                          // One that cannot be looked up keeps its name in the listing, without
                          // attributes.
                          const auto found =
                              context.tree.lookup(context.executor, parent, entry.name);
                          if (found) inode = found->stat.stx_ino;
                          // Nor what the client must first drop pages for: a LOOKUP will do it.
                          if (found && settle_pages(context, found->node)) {
                            encode(*found, context.connection.cache, out);
                          } else if (found) {
                            context.closer.close(context.tree.forget(found->node, 1));
                          }
                        }
                        packer.add({reinterpret_cast<const std::byte*>(&out), sizeof out}, inode,
                                   entry.next_offset, entry.type, name);
                        return true;
                      });
}

void undo_readdirplus(OperationContext& context, Request& request) {
  auto rest = request.reply_payload();
  while (rest.size() >= FUSE_NAME_OFFSET_DIRENTPLUS) {
    fuse_direntplus entry;
    std::memcpy(&entry, rest.data(), FUSE_NAME_OFFSET_DIRENTPLUS);
    const std::uint64_t node = entry.entry_out.nodeid;
    if (node != 0) context.closer.close(context.tree.forget(node, 1));
    rest = rest.subspan(std::min(rest.size(), FUSE_DIRENTPLUS_SIZE(&entry)));
  }
}

Reply releasedir(OperationContext& context, Request& request) {
  fuse_release_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  context.closer.close(context.tree.releasedir(in.fh));
  return 0;
}

Reply fsyncdir(OperationContext& context, Request& request) {
  fuse_fsync_in in;
  if (!ArgumentReader(request.arguments()).read(in)) return loop::fail(EINVAL);
  OURO_TRY(
      context.tree.fsyncdir(context.executor, in.fh, (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0));
  return 0;
}

}  // namespace ouro::fs::operations
