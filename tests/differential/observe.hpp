// Turns what the kernel reports into facts: attributes, xattrs and ACLs, directory listings, the
// content of files. Used by the executors and by the tree walk, so both say the same words.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "loop/result.hpp"
#include "tests/differential/outcome.hpp"

namespace ouro::differential {

// Facts named `prefix` + type, mode, nlink, uid, gid, size, blocks, blksize, rdev, same_dev and the
// three times. root_device: what st_dev is expected to be.
void observe_stat(Outcome& outcome, const std::string& prefix, const struct stat& attributes,
                  std::uint64_t root_device);

// "u::rw- u1001:rwx g::r-- m::rwx o::---" of a posix_acl xattr, or its bytes where it is none.
[[nodiscard]] std::string describe_acl(std::span<const std::byte> value);
// The text of an attribute value, depending on what the name says it is.
[[nodiscard]] std::string describe_xattr(const std::string& name, std::span<const std::byte> value);
// The names of a listxattr buffer, sorted.
[[nodiscard]] std::vector<std::string> split_xattr_names(std::span<const std::byte> list);

struct DirectoryEntry {
  std::string name;
  std::uint64_t inode;
  std::int64_t next;  // the cookie of the entry behind this one
  unsigned char type;
};

// One getdents64 with a buffer of that many bytes; an empty list is the end.
[[nodiscard]] loop::Result<std::vector<DirectoryEntry>> read_entries(int fd, std::size_t bytes);
// The rest of the directory from the current offset.
[[nodiscard]] loop::Result<std::vector<DirectoryEntry>> read_all_entries(int fd, std::size_t bytes);
// "a:file b:directory", sorted, with "." and "..".
[[nodiscard]] std::string describe_entries(std::span<const DirectoryEntry> entries);

// The content of an open file: everything up to 4 MiB, and beyond that the places where the
// generator may have written. Holes and zeros are the same here.
[[nodiscard]] std::string describe_content(int fd, std::int64_t size);

[[nodiscard]] const char* type_name(mode_t mode);

}  // namespace ouro::differential
