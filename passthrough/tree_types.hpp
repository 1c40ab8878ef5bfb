// The plain types that the operations of a Tree take and give.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "passthrough/credentials.hpp"
#include "passthrough/inode_table.hpp"
#include "passthrough/set_id.hpp"

namespace ouro::passthrough {

using loop::Result;
using loop::Status;
using FileHandleId = std::uint64_t;
using DirHandleId = std::uint64_t;

// What a successful lookup hands out: one lookup of `node` is counted.
struct Entry {
  NodeId node = 0;
  struct ::statx stat {};
  bool changes_unseen = false;  // Tree::changes_unseen()
};

struct CreatedFile {
  Entry entry;
  FileHandleId handle = 0;
};

// How new inodes are made: their mode, and the umask that applies unless a default ACL does.
struct Creation {
  mode_t mode = 0;
  mode_t umask = 0;
  Caller caller;
};

// The attributes to change; what is empty stays. A time is UTIME_NOW by its tv_nsec.
struct AttributeChanges {
  std::optional<mode_t> mode = {};
  std::optional<uid_t> uid = {};
  std::optional<gid_t> gid = {};
  std::optional<std::int64_t> size = {};
  std::optional<timespec> atime = {};
  std::optional<timespec> mtime = {};
  SetIdKiller killer = {};  // who truncates, or changes the owner
};

// What is done where the source contains other mounts.
enum class Submounts : std::uint8_t {
  kFollow,    // they are part of the tree
  kStay,      // one file system: crossing is EXDEV
  kAvoidOwn,  // part of the tree, but for the mount that this daemon serves
};

// The mount that this daemon serves, where the source shows it: found under `mount` (and on
// `device` if it was bound elsewhere too), it is replaced by the directory it covers.
struct OwnMount {
  std::uint64_t mount = 0;
  std::uint64_t device = 0;
  loop::UniqueFd covered;  // O_PATH, opened before the mount
};

// Whether open files must be readable for the kernel's write-back cache.
enum class WriteBack : std::uint8_t { kOff, kOn };

}  // namespace ouro::passthrough
