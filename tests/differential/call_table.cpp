#include "tests/differential/call_table.hpp"

#include "tests/differential/executors.hpp"
#include "tests/differential/parameters.hpp"

namespace ouro::differential {
namespace {

// clang-format off
const CallRow kTable[] = {
    // Opening. One executor, several rows: what a slot is good for depends on who fills it.
    {"openat", 90, execute_openat, {{
         {"slot", &kFileSlot}, {"dir", &kBaseDirectory}, {"path", &kFilePath},
         {"flags", &kOpenFlags}, {"mode", &kMode}}}},
    {"open_direct", 14, execute_openat, {{
         {"slot", &kDirectSlot}, {"dir", &kBaseDirectory}, {"path", &kFilePath},
         {"flags", &kDirectFlags}, {"mode", &kMode}}}},
    {"open_directory", 14, execute_openat, {{
         {"slot", &kDirectorySlot}, {"dir", &kBaseDirectory}, {"path", &kDirectoryPath},
         {"flags", &kDirectoryFlags}, {"mode", &kMode}}}},
    {"open_path", 8, execute_openat, {{
         {"slot", &kPathSlot}, {"dir", &kBaseDirectory}, {"path", &kAnyPath},
         {"flags", &kPathFlags}, {"mode", &kMode}}}},
    {"open_special", 6, execute_openat, {{
         {"slot", &kFileSlot}, {"dir", &kBaseDirectory}, {"path", &kSpecialPath},
         {"flags", &kOpenFlags}, {"mode", &kMode}}}},
    {"open_tmpfile", 12, execute_openat, {{
         {"slot", &kFileSlot}, {"dir", &kBaseDirectory}, {"path", &kDirectoryPath},
         {"flags", &kTmpfileFlags}, {"mode", &kMode}}}},
    {"reopen", 8, execute_reopen, {{
         {"slot", &kFileSlot}, {"from", &kFileSlot}, {"flags", &kReopenFlags}}}},
    {"close", 22, execute_close, {{{"slot", &kFileSlot}}}},
    {"dup", 8, execute_dup, {{{"slot", &kFileSlot}, {"from", &kFileSlot}}}},
    {"getfl", 4, execute_getfl, {{{"slot", &kFileSlot}}}},
    {"setfl", 10, execute_setfl, {{{"slot", &kFileSlot}, {"flags", &kStatusFlags}}}},
    {"link_fd", 10, execute_link_fd, {{{"slot", &kFileSlot}, {"path", &kFilePath}}}},
    {"flock", 8, execute_flock, {{{"slot", &kFileSlot}, {"operation", &kFlockOperation}}}},
    {"setlk", 12, execute_setlk, {{
         {"slot", &kFileSlot}, {"command", &kLockCommand}, {"type", &kLockType},
         {"start", &kLockStart}, {"length", &kLockLength}}}},
    {"getlk", 6, execute_getlk, {{
         {"slot", &kFileSlot}, {"type", &kLockType}, {"start", &kLockStart},
         {"length", &kLockLength}}}},
    {"ioctl", 10, execute_ioctl, {{{"slot", &kFileSlot}, {"request", &kIoctlRequest}}}},

    // Data.
    {"read", 24, execute_read, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"memory", &kMemory}}}, adjust_transfer},
    {"pread", 36, execute_pread, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"offset", &kPosition},
         {"memory", &kMemory}}}, adjust_transfer},
    {"readv", 8, execute_readv, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"pieces", &kPieces}}}},
    {"write", 40, execute_write, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"fill", &kFill},
         {"memory", &kMemory}}}, adjust_transfer},
    {"writev", 8, execute_writev, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"fill", &kFill}, {"pieces", &kPieces}}}},
    {"pwrite", 50, execute_pwrite, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"offset", &kPosition}, {"fill", &kFill},
         {"memory", &kMemory}}}, adjust_transfer},
    {"pwritev2", 12, execute_pwritev2, {{
         {"slot", &kFileSlot}, {"length", &kLength}, {"offset", &kOffset}, {"fill", &kFill},
         {"flags", &kWriteFlags}}}, probe_beyond_largest_file},
    {"lseek", 24, execute_lseek, {{
         {"slot", &kFileSlot}, {"offset", &kPosition}, {"whence", &kWhence}}}},
    {"ftruncate", 14, execute_ftruncate, {{{"slot", &kFileSlot}, {"size", &kFileSize}}}},
    {"truncate", 14, execute_truncate, {{{"path", &kFilePath}, {"size", &kFileSize}}}},
    {"fallocate", 26, execute_fallocate, {{
         {"slot", &kFileSlot}, {"mode", &kFallocateMode}, {"offset", &kPosition},
         {"length", &kLength}}}, bound_allocation},
    {"copy_file_range", 20, execute_copy_file_range, {{
         {"from", &kFileSlot}, {"from_offset", &kOffset}, {"to", &kFileSlot},
         {"to_offset", &kOffset}, {"length", &kLength}}}, adjust_copy},
    {"sendfile", 10, execute_sendfile, {{
         {"to", &kFileSlot}, {"from", &kFileSlot}, {"offset", &kOffset}, {"length", &kLength}}}, adjust_copy},
    {"fsync", 5, execute_fsync, {{{"slot", &kFileSlot}}}},
    {"fsync_directory", 2, execute_fsync, {{{"slot", &kDirectorySlot}}}},
    {"fdatasync", 4, execute_fdatasync, {{{"slot", &kFileSlot}}}},
    {"mmap_store", 24, execute_mmap_store, {{
         {"slot", &kFileSlot}, {"offset", &kMapOffset}, {"length", &kMapLength}, {"fill", &kFill},
         {"sync", &kMapSync}}}},
    {"mmap_read", 16, execute_mmap_read, {{
         {"slot", &kFileSlot}, {"offset", &kMapOffset}, {"length", &kMapLength},
         {"sharing", &kMapSharing}}}},

    // Attributes.
    {"stat", 20, execute_stat, {{{"path", &kAnyPath}}}},
    {"lstat", 24, execute_lstat, {{{"path", &kAnyPath}}}},
    {"fstat", 20, execute_fstat, {{{"slot", &kFileSlot}}}},
    {"fstat_path", 4, execute_fstat, {{{"slot", &kPathSlot}}}},
    {"fstatat", 8, execute_fstatat, {{
         {"dir", &kBaseDirectory}, {"path", &kAnyPath}, {"flags", &kFollowFlags}}}},
    {"statx", 16, execute_statx, {{{"path", &kAnyPath}, {"flags", &kFollowFlags}}}},
    {"chmod", 16, execute_chmod, {{{"path", &kAnyPath}, {"mode", &kMode}}}},
    {"chmod_directory", 8, execute_chmod, {{{"path", &kDirectoryPath}, {"mode", &kDirectoryMode}}}},
    {"fchmod", 12, execute_fchmod, {{{"slot", &kFileSlot}, {"mode", &kMode}}}},
    {"fchmodat2", 5, execute_fchmodat2, {{
         {"path", &kAnyPath}, {"mode", &kMode}, {"flags", &kFollowFlags}}}},
    {"chown", 14, execute_chown, {{{"path", &kAnyPath}, {"uid", &kUid}, {"gid", &kGid}}}},
    {"lchown", 8, execute_lchown, {{{"path", &kAnyPath}, {"uid", &kUid}, {"gid", &kGid}}}},
    {"fchown", 8, execute_fchown, {{{"slot", &kFileSlot}, {"uid", &kUid}, {"gid", &kGid}}}},
    {"utimensat", 20, execute_utimensat, {{
         {"path", &kAnyPath}, {"atime", &kStamp}, {"mtime", &kStamp}, {"flags", &kFollowFlags}}}},
    {"futimens", 10, execute_futimens, {{
         {"slot", &kFileSlot}, {"atime", &kStamp}, {"mtime", &kStamp}}}},
    {"access", 16, execute_access, {{
         {"path", &kAnyPath}, {"mode", &kAccessMode}, {"flags", &kAccessFlags}}}},
    {"statfs", 4, execute_statfs, {{{"path", &kAnyPath}}}},
    {"fstatfs", 3, execute_fstatfs, {{{"slot", &kFileSlot}}}},
    {"umask", 6, execute_umask, {{{"mask", &kMask}}}},
    {"same_file", 8, execute_same_file, {{{"first", &kAnyPath}, {"second", &kAnyPath}}}},
    {"same_open", 8, execute_same_open, {{{"slot", &kFileSlot}, {"path", &kFilePath}}}},

    // Names.
    {"mkdirat", 30, execute_mkdirat, {{
         {"dir", &kBaseDirectory}, {"path", &kDirectoryPath}, {"mode", &kDirectoryMode}}}},
    {"rmdir", 12, execute_rmdir, {{{"path", &kDirectoryPath}}}},
    {"unlink", 20, execute_unlink, {{{"path", &kAnyPath}}}},
    {"unlinkat", 8, execute_unlinkat, {{
         {"dir", &kBaseDirectory}, {"path", &kAnyPath}, {"flags", &kUnlinkFlags}}}},
    {"rename", 24, execute_rename, {{{"from", &kFilePath}, {"to", &kFilePath}}}},
    {"rename_any", 16, execute_rename, {{{"from", &kAnyPath}, {"to", &kAnyPath}}}},
    {"renameat2", 18, execute_renameat2, {{
         {"from", &kAnyPath}, {"to", &kAnyPath}, {"flags", &kRenameFlags}}}},
    {"link", 22, execute_link, {{{"from", &kFilePath}, {"to", &kFilePath}}}},
    {"linkat", 8, execute_linkat, {{
         {"from", &kAnyPath}, {"to", &kFilePath}, {"flags", &kLinkFlags}}}},
    {"symlink", 20, execute_symlink, {{{"target", &kLinkTarget}, {"path", &kLinkPath}}}},
    {"readlink", 10, execute_readlink, {{{"path", &kLinkPath}, {"bytes", &kReadlinkBytes}}}},
    {"mknodat", 16, execute_mknodat, {{
         {"dir", &kBaseDirectory}, {"path", &kSpecialPath}, {"type", &kNodeType},
         {"mode", &kMode}}}},
    {"list", 20, execute_list, {{
         {"path", &kDirectoryPath}, {"bytes", &kListBytes}, {"dance", &kListDance}}}},
    {"list_slot", 12, execute_list_slot, {{
         {"slot", &kDirectorySlot}, {"bytes", &kListBytes}, {"dance", &kListDance}}}},
    {"populate", 2, execute_populate, {{{"path", &kDirectoryPath}, {"count", &kEntryCount}}}},

    // Extended attributes.
    {"setxattr", 22, execute_setxattr, {{
         {"path", &kAnyPath}, {"name", &kXattrName}, {"size", &kXattrSize}, {"fill", &kFill},
         {"flags", &kXattrFlags}}}},
    {"lsetxattr", 6, execute_lsetxattr, {{
         {"path", &kLinkPath}, {"name", &kXattrName}, {"size", &kXattrSize}, {"fill", &kFill},
         {"flags", &kXattrFlags}}}},
    {"fsetxattr", 8, execute_fsetxattr, {{
         {"slot", &kFileSlot}, {"name", &kXattrName}, {"size", &kXattrSize}, {"fill", &kFill},
         {"flags", &kXattrFlags}}}},
    {"getxattr", 14, execute_getxattr, {{
         {"path", &kAnyPath}, {"name", &kXattrName}, {"size", &kXattrRoom}}}},
    {"lgetxattr", 4, execute_lgetxattr, {{
         {"path", &kLinkPath}, {"name", &kXattrName}, {"size", &kXattrRoom}}}},
    {"fgetxattr", 6, execute_fgetxattr, {{
         {"slot", &kFileSlot}, {"name", &kXattrName}, {"size", &kXattrRoom}}}},
    {"listxattr", 8, execute_listxattr, {{{"path", &kAnyPath}, {"size", &kXattrRoom}}}},
    {"llistxattr", 4, execute_llistxattr, {{{"path", &kLinkPath}, {"size", &kXattrRoom}}}},
    {"flistxattr", 4, execute_flistxattr, {{{"slot", &kFileSlot}, {"size", &kXattrRoom}}}},
    {"removexattr", 8, execute_removexattr, {{{"path", &kAnyPath}, {"name", &kXattrName}}}},
    {"lremovexattr", 3, execute_lremovexattr, {{{"path", &kLinkPath}, {"name", &kXattrName}}}},
    {"fremovexattr", 4, execute_fremovexattr, {{{"slot", &kFileSlot}, {"name", &kXattrName}}}},
    {"setacl", 14, execute_setacl, {{
         {"path", &kAnyPath}, {"which", &kAclWhich}, {"shape", &kAclShape}}}},
    {"setacl_directory", 8, execute_setacl, {{
         {"path", &kDirectoryPath}, {"which", &kAclWhich}, {"shape", &kAclShape}}}},
    {"fsetacl", 4, execute_fsetacl, {{
         {"slot", &kFileSlot}, {"which", &kAclWhich}, {"shape", &kAclShape}}}},
    {"setcap", 6, execute_setcap, {{{"path", &kFilePath}}}},
};
// clang-format on

}  // namespace

std::span<const CallRow> call_table() {
  return kTable;
}

const CallRow* find_row(std::string_view name) {
  for (const CallRow& row : kTable) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace ouro::differential
