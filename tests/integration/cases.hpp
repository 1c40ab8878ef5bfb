// Every operation that a directory has, with the errors it may answer, as pieces of code that are
// run natively and through a mount (transcript.hpp). Grouped so that a group takes a moment.
#pragma once

#include <ostream>
#include <vector>

#include "tests/integration/transcript.hpp"

namespace ouro::testing {

[[nodiscard]] std::vector<Case> name_cases();       // looking up, making, linking, renaming
[[nodiscard]] std::vector<Case> node_cases();       // files without a name, FIFOs, sockets, devices
[[nodiscard]] std::vector<Case> attribute_cases();  // modes, owners, times, sizes, statx, statfs
[[nodiscard]] std::vector<Case> data_cases();       // reading and writing, whatever the size
[[nodiscard]] std::vector<Case> space_cases();      // holes, fallocate, copy_file_range
[[nodiscard]] std::vector<Case> mapping_cases();    // mmap
[[nodiscard]] std::vector<Case> directory_cases();  // listing
[[nodiscard]] std::vector<Case> xattr_cases();      // extended attributes, ACLs
[[nodiscard]] std::vector<Case> control_cases();    // ioctl, locks, poll, access

struct CaseGroup {
  const char* name;
  std::vector<Case> (*cases)();

  friend std::ostream& operator<<(std::ostream& out, const CaseGroup& group) {
    return out << group.name;
  }
};
[[nodiscard]] std::vector<CaseGroup> case_groups();

}  // namespace ouro::testing
