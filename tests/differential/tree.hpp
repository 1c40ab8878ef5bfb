// The final trees: everything that can be seen of every path below a directory. The program walks
// them itself (as root, where it is root), with O_NOATIME where that is allowed.
#pragma once

#include <string>
#include <vector>

#include "loop/result.hpp"
#include "tests/differential/compare.hpp"
#include "tests/differential/outcome.hpp"

namespace ouro::differential {

struct TreeEntry {
  std::string path;
  Outcome seen;
};

struct Tree {
  std::vector<TreeEntry> entries;  // sorted by path
  Interval when;
};

// `directory` must have been opened for reading. Changes the working directory for its duration.
[[nodiscard]] loop::Result<Tree> walk_tree(int directory);

struct TreeDifference {
  Difference difference;
  const Outcome* native;  // of the same path, into the native tree; null where it has none
};

// The hard links of a tree must be those of the other: fact "links" names the first path of the
// same inode.
[[nodiscard]] std::vector<TreeDifference> compare_trees(const Tree& native, const Tree& mount,
                                                        const Yardstick& yardstick);

}  // namespace ouro::differential
