#include "fs/encode.hpp"

#include <sys/sysmacros.h>

namespace ouro::fs {
namespace {

// KERNEL: rdev travels in the 32-bit form of new_encode_dev(), include/linux/kdev_t.h.
std::uint32_t encode_device(std::uint32_t major, std::uint32_t minor) {
  return (minor & 0xffU) | (major << 8) | ((minor & ~0xffU) << 12);
}

void encode(const statx_timestamp& time, wire::StatxTime& out) {
  out.tv_sec = time.tv_sec;
  out.tv_nsec = time.tv_nsec;
}

}  // namespace

void encode(const struct ::statx& stat, fuse_attr& out) {
  out.ino = stat.stx_ino;
  out.size = stat.stx_size;
  out.blocks = stat.stx_blocks;
  out.atime = static_cast<std::uint64_t>(stat.stx_atime.tv_sec);
  out.mtime = static_cast<std::uint64_t>(stat.stx_mtime.tv_sec);
  out.ctime = static_cast<std::uint64_t>(stat.stx_ctime.tv_sec);
  out.atimensec = stat.stx_atime.tv_nsec;
  out.mtimensec = stat.stx_mtime.tv_nsec;
  out.ctimensec = stat.stx_ctime.tv_nsec;
  out.mode = stat.stx_mode;
  out.nlink = stat.stx_nlink;
  out.uid = stat.stx_uid;
  out.gid = stat.stx_gid;
  out.rdev = encode_device(stat.stx_rdev_major, stat.stx_rdev_minor);
  out.blksize = stat.stx_blksize;
}

void encode(const struct ::statx& stat, wire::Statx& out) {
  out.mask = stat.stx_mask;
  out.blksize = stat.stx_blksize;
  out.attributes = stat.stx_attributes;
  out.attributes_mask = stat.stx_attributes_mask;
  out.nlink = stat.stx_nlink;
  out.uid = stat.stx_uid;
  out.gid = stat.stx_gid;
  out.mode = stat.stx_mode;
  out.ino = stat.stx_ino;
  out.size = stat.stx_size;
  out.blocks = stat.stx_blocks;
  encode(stat.stx_atime, out.atime);
  encode(stat.stx_btime, out.btime);
  encode(stat.stx_ctime, out.ctime);
  encode(stat.stx_mtime, out.mtime);
  out.rdev_major = stat.stx_rdev_major;
  out.rdev_minor = stat.stx_rdev_minor;
  out.dev_major = stat.stx_dev_major;
  out.dev_minor = stat.stx_dev_minor;
}

void encode(const passthrough::Entry& entry, const CachePolicy& cache, fuse_entry_out& out) {
  out.nodeid = entry.node;
  encode_timeout(cache.entry_timeout_ns, out.entry_valid, out.entry_valid_nsec);
  encode_timeout(entry.changes_unseen ? 0 : cache.attribute_timeout_ns, out.attr_valid,
                 out.attr_valid_nsec);
  encode(entry.stat, out.attr);
}

void encode_negative(const CachePolicy& cache, fuse_entry_out& out) {
  out.nodeid = 0;
  encode_timeout(cache.negative_timeout_ns, out.entry_valid, out.entry_valid_nsec);
}

}  // namespace ouro::fs
