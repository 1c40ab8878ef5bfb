// The file handle of a file of the source (name_to_handle_at(2)): finds it again without a
// descriptor, and tells it from a later file with the same inode number.
//
// To open one takes CAP_DAC_READ_SEARCH in the initial user namespace, and a file system that can
// be exported by NFS. Immutable; any thread.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::passthrough {

class SourceHandle {
 public:
  SourceHandle(int type, std::vector<std::byte> bytes) : type_(type), bytes_(std::move(bytes)) {}
  // Of the file behind `fd`, which may be an O_PATH one. Errors: EOPNOTSUPP where the file system
  // has no handles, EOVERFLOW where they are longer than MAX_HANDLE_SZ.
  [[nodiscard]] static loop::Result<SourceHandle> of(int fd);

  // An O_PATH descriptor. `mount_fd`: any open file, not O_PATH, of the same mount. Errors: ESTALE
  // if the file is no more; EPERM without the capability.
  [[nodiscard]] loop::Result<loop::UniqueFd> open(int mount_fd) const;

  // As struct file_handle has them.
  [[nodiscard]] int type() const { return type_; }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

  friend bool operator==(const SourceHandle&, const SourceHandle&) = default;

 private:
  int type_;
  std::vector<std::byte> bytes_;
};

}  // namespace ouro::passthrough
