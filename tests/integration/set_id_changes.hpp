// Everything that changes the content, the owner or the rights of a file, and so may take its
// set-id bits and its capability away: one function each, for the matrix of set_id_matrix_test.cpp.
#pragma once

#include <span>

namespace ouro::testing {

// The bytes of a file before the change, and of kDonor, from which some changes take theirs.
inline constexpr std::size_t kChangedFileBytes = 16'384;
inline constexpr const char* kDonor = "donor";

struct Change {
  const char* name;
  // Negative, with errno, if it failed. `path` is relative to the current directory, as is kDonor.
  long (*act)(const char* path);
};

[[nodiscard]] std::span<const Change> set_id_changes();

}  // namespace ouro::testing
