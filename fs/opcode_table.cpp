#include "fs/opcode_table.hpp"

#include <array>

#include "fs/operations.hpp"
#include "fs/protocol.hpp"

namespace ouro::fs {
namespace {

namespace ops = operations;

constexpr auto kLooks = Route::kLooks;
constexpr auto kWaits = Route::kWaits;
constexpr auto kCalls = Route::kCalls;

// clang-format off
constexpr OpcodeRow kRows[] = {
    {FUSE_LOOKUP, "LOOKUP", 2, kLooks, ops::lookup, nullptr, ops::undo_entry},
    {FUSE_FORGET, "FORGET", sizeof(fuse_forget_in), Route::kControl},
    {FUSE_GETATTR, "GETATTR", sizeof(fuse_getattr_in), kLooks, ops::getattr},
    {FUSE_SETATTR, "SETATTR", sizeof(fuse_setattr_in), kCalls, ops::setattr},
    {FUSE_READLINK, "READLINK", 0, kCalls, ops::readlink},
    {FUSE_SYMLINK, "SYMLINK", 4, kWaits, ops::symlink, nullptr, ops::undo_entry},
    {FUSE_MKNOD, "MKNOD", sizeof(fuse_mknod_in) + 2, kCalls, ops::mknod, nullptr, ops::undo_entry},
    {FUSE_MKDIR, "MKDIR", sizeof(fuse_mkdir_in) + 2, kWaits, ops::mkdir, nullptr, ops::undo_entry},
    {FUSE_UNLINK, "UNLINK", 2, kWaits, ops::unlink},
    {FUSE_RMDIR, "RMDIR", 2, kWaits, ops::rmdir},
    {FUSE_RENAME, "RENAME", sizeof(fuse_rename_in) + 4, kWaits, ops::rename},
    {FUSE_LINK, "LINK", sizeof(fuse_link_in) + 2, kWaits, ops::link, nullptr, ops::undo_entry},
    {FUSE_OPEN, "OPEN", sizeof(fuse_open_in), kWaits, ops::open, nullptr, ops::undo_open},
    {FUSE_READ, "READ", sizeof(fuse_read_in), Route::kData, nullptr, ops::read},
    {FUSE_WRITE, "WRITE", sizeof(fuse_write_in), Route::kData, ops::finish_write, ops::write},
    {FUSE_STATFS, "STATFS", 0, kCalls, ops::statfs},
    {FUSE_RELEASE, "RELEASE", sizeof(fuse_release_in), Route::kAtOnce, ops::release},
    {FUSE_FSYNC, "FSYNC", sizeof(fuse_fsync_in), Route::kData, nullptr, ops::fsync},
    {FUSE_SETXATTR, "SETXATTR", FUSE_COMPAT_SETXATTR_IN_SIZE + 2, kWaits, ops::setxattr},
    {FUSE_GETXATTR, "GETXATTR", sizeof(fuse_getxattr_in) + 2, kWaits, ops::getxattr},
    {FUSE_LISTXATTR, "LISTXATTR", sizeof(fuse_getxattr_in), kCalls, ops::listxattr},
    {FUSE_REMOVEXATTR, "REMOVEXATTR", 2, kCalls, ops::removexattr},
    {FUSE_FLUSH, "FLUSH", sizeof(fuse_flush_in), kCalls, ops::flush},
    {FUSE_OPENDIR, "OPENDIR", sizeof(fuse_open_in), kWaits, ops::opendir, nullptr, ops::undo_opendir},
    {FUSE_READDIR, "READDIR", sizeof(fuse_read_in), kCalls, ops::readdir},
    {FUSE_RELEASEDIR, "RELEASEDIR", sizeof(fuse_release_in), Route::kAtOnce, ops::releasedir},
    {FUSE_FSYNCDIR, "FSYNCDIR", sizeof(fuse_fsync_in), kWaits, ops::fsyncdir},
    {FUSE_GETLK, "GETLK", sizeof(fuse_lk_in), kCalls, ops::getlk},
    {FUSE_SETLK, "SETLK", sizeof(fuse_lk_in), kCalls, ops::setlk},
    {FUSE_SETLKW, "SETLKW", sizeof(fuse_lk_in), kCalls, ops::setlkw},
    {FUSE_ACCESS, "ACCESS", sizeof(fuse_access_in), kCalls, ops::access},
    {FUSE_CREATE, "CREATE", sizeof(fuse_create_in) + 2, kWaits, ops::create, nullptr, ops::undo_create},
    {FUSE_INTERRUPT, "INTERRUPT", sizeof(fuse_interrupt_in), Route::kControl},
    {FUSE_DESTROY, "DESTROY", 0, Route::kControl},
    {FUSE_IOCTL, "IOCTL", sizeof(fuse_ioctl_in), kCalls, ops::ioctl},
    {FUSE_BATCH_FORGET, "BATCH_FORGET", sizeof(fuse_batch_forget_in), Route::kControl},
    {FUSE_FALLOCATE, "FALLOCATE", sizeof(fuse_fallocate_in), kWaits, ops::fallocate},
    {FUSE_READDIRPLUS, "READDIRPLUS", sizeof(fuse_read_in), kCalls, ops::readdirplus, nullptr, ops::undo_readdirplus},
    {FUSE_RENAME2, "RENAME2", sizeof(fuse_rename2_in) + 4, kWaits, ops::rename2},
    {FUSE_LSEEK, "LSEEK", sizeof(fuse_lseek_in), kCalls, ops::lseek},
    {FUSE_COPY_FILE_RANGE, "COPY_FILE_RANGE", sizeof(fuse_copy_file_range_in), Route::kPool, ops::copy_file_range},
    {FUSE_TMPFILE, "TMPFILE", sizeof(fuse_create_in), kWaits, ops::tmpfile, nullptr, ops::undo_create},
    {wire::kStatx, "STATX", sizeof(wire::StatxIn), kLooks, ops::statx},
    {wire::kCopyFileRange64, "COPY_FILE_RANGE_64", sizeof(fuse_copy_file_range_in), Route::kPool, ops::copy_file_range_64},
    // Not served, so that the kernel does it itself and never asks again (ENOSYS is remembered):
    // POLL (regular files are always ready), BMAP and SYNCFS (never sent to a mount of type fuse).
};
// clang-format on

constexpr std::size_t kTableSize = 64;

constexpr std::array<const OpcodeRow*, kTableSize> index_rows() {
  std::array<const OpcodeRow*, kTableSize> index{};
  for (const OpcodeRow& row : kRows) index.at(row.opcode) = &row;
  return index;
}
constexpr std::array<const OpcodeRow*, kTableSize> kByOpcode = index_rows();

}  // namespace

const OpcodeRow* find_opcode(std::uint32_t opcode) {
  return opcode < kTableSize ? kByOpcode[opcode] : nullptr;
}

}  // namespace ouro::fs
