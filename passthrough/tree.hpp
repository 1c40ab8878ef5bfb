// A directory tree backed by another one: the operations of a file system on plain types. The
// file system of fs/ is the only user in the program.
//
// Any thread; each call brings the executor of its own thread. Calls that reach the ring wait in
// a nested loop, so no lock is held and nothing unpinned is kept across an executor call.
// Everything is done by descriptors: no symlink is followed, no device or FIFO is opened, names
// are checked before any system call.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "loop/unique_fd.hpp"
#include "passthrough/descriptor_budget.hpp"
#include "passthrough/device_map.hpp"
#include "passthrough/durable_ids.hpp"
#include "passthrough/executor.hpp"
#include "passthrough/file_handle.hpp"
#include "passthrough/file_locks.hpp"
#include "passthrough/file_system_kinds.hpp"
#include "passthrough/inode_table.hpp"
#include "passthrough/mount_fds.hpp"
#include "passthrough/slot_table.hpp"
#include "passthrough/tree_types.hpp"

namespace ouro::passthrough {

// What a lookup asks statx() for.
inline constexpr unsigned kEntryMask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
[[nodiscard]] FileKey key_of(const struct ::statx& stat);

class Tree {
 public:
  struct Options {
    Submounts submounts = Submounts::kFollow;
    WriteBack write_back = WriteBack::kOff;
    bool watches_content = false;  // keeps a ContentHistory of what has been opened
    bool gives_files = false;      // has an IoMode of each regular file, for openings to join
    Watermark watermark = {};
    // How many inodes are to be held by a descriptor, 1: the root alone. The others are held by
    // file handles; without these, see take_crowding().
    std::size_t max_descriptors = kNoLimit;
    bool file_handles = true;  // where the source has them
    // The source is a whole file system, whatever is mounted in it: a file handle of it leads
    // nowhere else. Node ids are durable then, where its handles allow that.
    bool is_whole = false;
    // RLIMIT_NOFILE, and whom to tell when a client is first refused an open file for it.
    std::size_t max_open_files = DescriptorBudget::kUnlimited;
    std::function<void()> open_refused = {};
  };

  // `root`: an O_PATH descriptor of the source directory. Checks that /proc is the real one.
  // Errors: of statx; ENOTSUP if /proc/self/fd is no procfs.
  [[nodiscard]] static Result<std::unique_ptr<Tree>> create(loop::UniqueFd root,
                                                            const Options& options);
  // Whether file handles can be used, if max_descriptors asks for them. Errors: EPERM without
  // CAP_DAC_READ_SEARCH, EOPNOTSUPP where the source's file system has none, ENOSYS.
  [[nodiscard]] const Status& handles() const { return handles_; }
  // Whether find_again() finds what the kernel has forgotten.
  [[nodiscard]] bool has_durable_ids() const { return durable_ids_.has_value(); }
  // O_PATH of the source directory.
  [[nodiscard]] int root_fd() const { return root_fd_; }
  // Before serving begins; only for Submounts::kAvoidOwn.
  void set_own_mount(OwnMount own) { own_mount_ = std::move(own); }

  // --- names (tree_names.cpp) ---
  [[nodiscard]] Result<Entry> lookup(Executor& executor, NodeId parent, const char* name);
  // What the kernel asks for by a file handle of the mount, where ids are durable: a node that it
  // has or has had, and the parent of a directory. Errors: EINVAL where they are not, ESTALE.
  [[nodiscard]] Result<Entry> find_again(Executor& executor, NodeId node);
  [[nodiscard]] Result<Entry> lookup_parent(Executor& executor, NodeId directory);
  // The inode if it has left the tree with that, else null: to be closed where it may take long.
  InodeRef forget(NodeId node, std::uint64_t count) { return inodes_.forget(node, count); }
  [[nodiscard]] Result<Entry> mkdir(Executor& executor, NodeId parent, const char* name,
                                    const Creation& creation);
  [[nodiscard]] Result<Entry> mknod(Executor& executor, NodeId parent, const char* name,
                                    const Creation& creation, dev_t device);
  [[nodiscard]] Result<Entry> symlink(Executor& executor, NodeId parent, const char* name,
                                      const char* target, const Creation& creation);
  [[nodiscard]] Result<Entry> link(Executor& executor, NodeId node, NodeId new_parent,
                                   const char* new_name, const Caller& caller = {});
  [[nodiscard]] Status unlink(Executor& executor, NodeId parent, const char* name);
  [[nodiscard]] Status rmdir(Executor& executor, NodeId parent, const char* name);
  // `flags`: RENAME_*. A whiteout belongs to the caller, and so does the space that a new name
  // takes.
  [[nodiscard]] Status rename(Executor& executor, NodeId parent, const char* name,
                              NodeId new_parent, const char* new_name, unsigned flags,
                              const Caller& caller = {});
  // The length of the target; ENAMETOOLONG if it does not fit.
  [[nodiscard]] Result<std::size_t> readlink(Executor& executor, NodeId node,
                                             std::span<std::byte> out);

  // --- attributes (tree_attributes.cpp) ---
  // `sync`: 0, AT_STATX_FORCE_SYNC or AT_STATX_DONT_SYNC; `mask`: STATX_*.
  [[nodiscard]] Result<struct ::statx> attributes(Executor& executor, NodeId node, unsigned sync,
                                                  unsigned mask);
  // `handle`: an open file to truncate by, where the caller has one.
  [[nodiscard]] Result<struct ::statx> change_attributes(Executor& executor, NodeId node,
                                                         std::optional<FileHandleId> handle,
                                                         const AttributeChanges& changes);
  // `mask`: R_OK | W_OK | X_OK, or F_OK.
  [[nodiscard]] Status access(Executor& executor, NodeId node, int mask, const Caller& caller);
  [[nodiscard]] Result<struct ::statvfs> statfs(Executor& executor, NodeId node);
  // Value or list sizes in bytes; with an empty `out` the size needed. ERANGE if it does not fit.
  // Names in trusted.* are shown to root only, as natively.
  [[nodiscard]] Result<std::size_t> getxattr(Executor& executor, NodeId node, const char* name,
                                             std::span<std::byte> out);
  [[nodiscard]] Result<std::size_t> listxattr(Executor& executor, NodeId node, const Caller& caller,
                                              std::span<std::byte> out);
  // `killer`: by whom an access ACL is changed that must clear SGID. `caller`: who takes the space.
  [[nodiscard]] Status setxattr(Executor& executor, NodeId node, const char* name,
                                std::span<const std::byte> value, int flags,
                                const SetIdKiller& killer, const Caller& caller = {});
  [[nodiscard]] Status removexattr(Executor& executor, NodeId node, const char* name);

  // --- files (tree_files.cpp) ---
  // `flags`: the client's O_* flags. `killer`: who truncates by O_TRUNC.
  [[nodiscard]] Result<FileHandleId> open(Executor& executor, NodeId node, int flags,
                                          const SetIdKiller& killer);
  [[nodiscard]] Result<CreatedFile> create(Executor& executor, NodeId parent, const char* name,
                                           int flags, const Creation& creation,
                                           const SetIdKiller& killer);
  [[nodiscard]] Result<CreatedFile> tmpfile(Executor& executor, NodeId parent, int flags,
                                            const Creation& creation);
  // Errors: EBADF.
  [[nodiscard]] Result<std::shared_ptr<FileHandle>> file(FileHandleId handle) const;
  // Reports what close() reports where that means something (NFS), and leaves the handle open.
  [[nodiscard]] Status flush(Executor& executor, FileHandleId handle);
  // What the handle stood for (null: nothing), to be closed where it may take long.
  std::shared_ptr<FileHandle> release(FileHandleId handle) { return files_.remove(handle); }
  [[nodiscard]] Status fallocate(Executor& executor, FileHandleId handle, int mode,
                                 std::int64_t offset, std::int64_t length,
                                 const SetIdKiller& killer);
  // `whence`: SEEK_DATA or SEEK_HOLE.
  [[nodiscard]] Result<std::int64_t> lseek(Executor& executor, FileHandleId handle,
                                           std::int64_t offset, int whence);
  [[nodiscard]] Result<std::size_t> copy_file_range(Executor& executor, FileHandleId in,
                                                    std::int64_t in_offset, FileHandleId out,
                                                    std::int64_t out_offset, std::size_t length,
                                                    unsigned flags, const SetIdKiller& killer);
  // The allow-list: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, whose
  // permissions the kernel's FUSE client checks (vfs_fileattr_set). Others: ENOTTY. Returns the
  // bytes in `out`. `fd` is borrowed from a file or directory handle.
  [[nodiscard]] static Result<std::size_t> ioctl(Executor& executor, int fd, unsigned command,
                                                 std::span<const std::byte> in,
                                                 std::span<std::byte> out);

  // The history of a file's content after a look at the file; null where none is kept: of what is
  // no regular file, has never been opened, or is not watched.
  [[nodiscard]] std::shared_ptr<ContentHistory> look_at_content(Executor& executor, NodeId node);
  [[nodiscard]] bool watches_content() const { return options_.watches_content; }
  // Of those who look at all open files every `period_ns`, one is told to do it.
  [[nodiscard]] bool take_watch(std::int64_t now_ns, std::int64_t period_ns);
  // The nodes that are open as files; those whose content is watched.
  [[nodiscard]] std::vector<NodeId> open_nodes() const;

  // Whether the node's file may change without anybody telling us (IoMode::changes_unseen()), so
  // that nobody may keep its attributes.
  [[nodiscard]] bool changes_unseen(NodeId node) const;

  // Locks of open files.
  [[nodiscard]] FileLocks& locks() { return locks_; }

  // --- directories (tree_directories.cpp) ---
  // `flags`: the client's O_* flags, of which O_NOATIME counts.
  [[nodiscard]] Result<DirHandleId> opendir(Executor& executor, NodeId node, int flags = 0);
  // Errors: EBADF.
  [[nodiscard]] Result<std::shared_ptr<DirHandle>> directory(DirHandleId handle) const;
  std::shared_ptr<DirHandle> releasedir(DirHandleId handle) { return directories_.remove(handle); }
  [[nodiscard]] Status fsyncdir(Executor& executor, DirHandleId handle, bool data_only);
  // The inode number to show for an entry of `directory` that says `inode`.
  [[nodiscard]] std::uint64_t shown_inode(const DirHandle& directory, std::uint64_t inode);

  [[nodiscard]] std::size_t inode_count() const { return inodes_.size(); }
  [[nodiscard]] std::size_t held_by_handle() const { return inodes_.held_by_handle(); }
  // How many times a file was opened by its handle.
  [[nodiscard]] std::uint64_t handle_opens() const { return handle_opens_.load(); }
  // More inodes hold a descriptor than are to: the kernel should be asked to forget some. Tells
  // that once, and again when there are many more. Any thread.
  [[nodiscard]] bool take_crowding() { return inodes_.take_crowding(); }
  // Whether it is so now.
  [[nodiscard]] bool is_crowded() const { return inodes_.is_crowded(); }
  // Too many by far: what adds an inode should wait for room first, in a thread that may block.
  [[nodiscard]] bool is_full() const { return inodes_.is_full(); }
  void wait_for_room() {
    constexpr std::chrono::milliseconds kLongEnough(200);
    inodes_.wait_for_room(kLongEnough);
  }
  // Up to `count` of those, the ones first that have waited longest.
  [[nodiscard]] std::vector<NodeId> oldest_with_descriptor(std::size_t count) {
    return inodes_.oldest_with_descriptor(count);
  }
  [[nodiscard]] std::size_t open_count() const { return files_.size() + directories_.size(); }

 private:
  Tree(Inode root, loop::UniqueFd proc_fds, const Options& options);

  // --- tree_inodes.cpp ---
  // Errors: ESTALE for an unknown node, and for a file that is no more.
  [[nodiscard]] Result<PinnedInode> pin(Executor& executor, NodeId node);
  [[nodiscard]] Result<loop::UniqueFd> open_handle(Executor& executor, const SourceHandle& handle,
                                                   std::uint64_t mount);
  void try_durable_ids(const Inode& root);
  // A descriptor of its own, of a node that the table has, or that its id names.
  [[nodiscard]] Result<loop::UniqueFd> path_of(Executor& executor, NodeId node);
  // Counts one lookup.
  [[nodiscard]] Result<NodeId> hold(Executor& executor, Inode inode);
  [[nodiscard]] static Result<SourceHandle> handle_of(Executor& executor, int fd);
  // Finds out whether the mount of this directory has handles, of which it stands for all.
  Status learn_mount(const Inode& directory);
  // A file that is held by its handle is lost with its last name, but not to those who have it open
  // or are in it. So it is looked at before a name is taken away, and held by a descriptor after.
  struct LastLook {
    FileKey key;
    std::optional<SourceHandle> handle = {};  // empty: nothing of ours
    loop::UniqueFd path_fd = {};
  };
  [[nodiscard]] LastLook look_before_removal(Executor& executor, const PinnedInode& directory,
                                             const char* name);
  void hold_what_lost_its_name(Executor& executor, LastLook look);

  // `flags`: of unlinkat(2).
  [[nodiscard]] Status remove_name(Executor& executor, NodeId parent, const char* name, int flags);
  // lookup() and attributes() of what is pinned already.
  [[nodiscard]] Result<Entry> lookup_in(Executor& executor, const PinnedInode& directory,
                                        const char* name);
  // Attributes that an executor has which refuses what can block are true only where nobody but
  // this machine's kernel changes them; elsewhere they are refused. `fd`: of that file, on
  // `device`.
  [[nodiscard]] Status check_truth(Executor& executor, std::uint64_t device, int fd);
  [[nodiscard]] Result<struct ::statx> attributes_of(Executor& executor, const PinnedInode& inode,
                                                     unsigned sync, unsigned mask);

  // Errors: EINVAL for what is no name of an entry, ENAMETOOLONG.
  [[nodiscard]] static Status check_name(const char* name);
  [[nodiscard]] Result<Entry> intern(Executor& executor, loop::UniqueFd path_fd);
  [[nodiscard]] Result<loop::UniqueFd> open_path(Executor& executor, const PinnedInode& parent,
                                                 const char* name);
  [[nodiscard]] Result<loop::UniqueFd> cross_mount(Executor& executor, const PinnedInode& parent,
                                                   const char* name);
  // Another descriptor of the file behind `fd`, which may be an O_PATH one. Never O_CREAT.
  [[nodiscard]] Result<loop::UniqueFd> reopen(Executor& executor, int fd, int flags,
                                              const Credentials* credentials = nullptr);
  // The same for a client's open(`client_flags`): with O_APPEND where the inode insists on it.
  [[nodiscard]] Result<loop::UniqueFd> reopen_for(Executor& executor, int fd, int client_flags,
                                                  int backing_flags,
                                                  const Credentials* credentials = nullptr);
  // `mode` as the caller's umask leaves it, unless the parent's default ACL takes its place.
  // Errors: EINTR.
  [[nodiscard]] Result<mode_t> effective_mode(Executor& executor, const PinnedInode& parent,
                                              const Creation& creation);
  [[nodiscard]] Status set_size(Executor& executor, const PinnedInode& inode,
                                std::optional<FileHandleId> handle, std::int64_t size,
                                const Credentials* credentials);
  [[nodiscard]] Result<loop::UniqueFd> open_direct(Executor& executor, int fd, int flags);
  [[nodiscard]] Result<CreatedFile> open_existing(Executor& executor, const PinnedInode& directory,
                                                  const char* name, int flags, const Caller& caller,
                                                  const SetIdKiller& killer);
  // Errors: EMFILE.
  [[nodiscard]] Status check_room(DescriptorBudget::Use use) {
    return budget_.check_room(use, proc_fds_.get());
  }
  [[nodiscard]] FileHandleId insert(NodeId node, InodeRef inode, loop::UniqueFd buffered,
                                    loop::UniqueFd direct, FileSystemKind kind);
  [[nodiscard]] Result<CreatedFile> adopt(Executor& executor, loop::UniqueFd buffered, int flags);

  const Options options_;
  const int root_fd_;              // the root inode's, which is never forgotten
  const loop::UniqueFd proc_fds_;  // O_PATH of /proc/self/fd
  DeviceMap devices_;
  FileSystemKinds kinds_;
  MountFds mounts_;
  Status handles_ = {};
  std::optional<DurableIds> durable_ids_;
  std::atomic<std::uint64_t> handle_opens_ = 0;
  DescriptorBudget budget_;
  InodeTable inodes_;
  SlotTable<FileHandle> files_;
  SlotTable<DirHandle> directories_;
  FileLocks locks_;
  OwnMount own_mount_;
  std::atomic<std::int64_t> watched_ns_ = 0;  // when take_watch() was last granted
};

}  // namespace ouro::passthrough
