// The directories of one sequence: SIDE/ouro-differential/a/b/c/root on the native side and through
// the mount, made fresh and removed afterwards (the second one through the mount as well). The four
// levels above the root catch what ".." reaches.
#pragma once

#include <string>
#include <vector>

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"
#include "tests/differential/outcome.hpp"

namespace ouro::differential {

struct SidePaths {
  std::string native;
  std::string mount;
  std::string mount_source;
};

class Scratch {
 public:
  // name: of the directory of this sequence, the same in both. What an interrupted run has left
  // there is removed first.
  static loop::Result<Scratch> create(const SidePaths& sides, const std::string& name);

  // Where the calls run.
  [[nodiscard]] int native_root() const { return native_root_.get(); }
  [[nodiscard]] int mount_root() const { return mount_root_.get(); }
  // The whole directory, opened anew for a walk.
  [[nodiscard]] loop::Result<loop::UniqueFd> open_native() const;
  [[nodiscard]] loop::Result<loop::UniqueFd> open_mount() const;
  [[nodiscard]] loop::Result<loop::UniqueFd> open_mount_source() const;
  [[nodiscard]] const Interval& native_made() const { return native_made_; }
  [[nodiscard]] const Interval& mount_made() const { return mount_made_; }

  // Removes both; what is left below the mount's source then, which should be nothing, is named
  // (and removed too).
  [[nodiscard]] std::vector<std::string> remove();

 private:
  Scratch() = default;

  SidePaths tops_;
  loop::UniqueFd native_root_;
  loop::UniqueFd mount_root_;
  Interval native_made_;
  Interval mount_made_;
};

}  // namespace ouro::differential
