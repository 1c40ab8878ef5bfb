// The executors: each makes its system call on one side with the arguments of the call, and puts
// what came back into the outcome. They run in the worker processes. Arguments go by name; the
// names are those of the call table.
#pragma once

namespace ouro::differential {

struct Call;
class Outcome;
class Side;

using Executor = void(Side& side, const Call& call, Outcome& outcome);

// Descriptors (execute_open.cpp).
Executor execute_openat, execute_reopen, execute_close, execute_dup, execute_getfl, execute_setfl,
    execute_link_fd, execute_flock, execute_setlk, execute_getlk, execute_ioctl;

// File data (execute_data.cpp).
Executor execute_read, execute_pread, execute_readv, execute_write, execute_writev, execute_pwrite,
    execute_pwritev2, execute_lseek, execute_ftruncate, execute_truncate, execute_fallocate,
    execute_copy_file_range, execute_sendfile, execute_fsync, execute_fdatasync, execute_mmap_store,
    execute_mmap_read;

// Attributes (execute_attributes.cpp).
Executor execute_stat, execute_lstat, execute_fstat, execute_fstatat, execute_statx, execute_chmod,
    execute_fchmod, execute_fchmodat2, execute_chown, execute_lchown, execute_fchown,
    execute_utimensat, execute_futimens, execute_access, execute_statfs, execute_fstatfs,
    execute_umask, execute_same_file, execute_same_open;

// Names and directories (execute_names.cpp).
Executor execute_mkdirat, execute_rmdir, execute_unlink, execute_unlinkat, execute_rename,
    execute_renameat2, execute_link, execute_linkat, execute_symlink, execute_readlink,
    execute_mknodat, execute_list, execute_list_slot, execute_populate;

// Extended attributes and ACLs (execute_xattrs.cpp), by path, by path without following a link,
// and by descriptor.
Executor execute_setxattr, execute_lsetxattr, execute_fsetxattr, execute_getxattr,
    execute_lgetxattr, execute_fgetxattr, execute_listxattr, execute_llistxattr, execute_flistxattr,
    execute_removexattr, execute_lremovexattr, execute_fremovexattr, execute_setacl,
    execute_fsetacl, execute_setcap;

}  // namespace ouro::differential
