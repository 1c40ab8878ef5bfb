// A file system of a given type for the time of a test, in a sparse file on a loop device; tmpfs
// needs neither. Root only, in a mount namespace of the test's own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace ouro::testing {

class LoopImage {
 public:
  static constexpr std::uintmax_t kDefaultBytes = std::uintmax_t{512} << 20;

  // Why there is none: no mkfs program, a kernel without the file system, no loop device.
  struct Missing {
    std::string reason;
  };

  // `type`: ext4, xfs, btrfs or tmpfs; `mkfs_options`: more of them, but for tmpfs.
  static std::variant<std::unique_ptr<LoopImage>, Missing> create(
      const std::string& type, std::uintmax_t bytes = kDefaultBytes,
      const std::vector<std::string>& mkfs_options = {});
  LoopImage(const LoopImage&) = delete;
  LoopImage& operator=(const LoopImage&) = delete;
  ~LoopImage();

  // Where it is mounted.
  [[nodiscard]] std::filesystem::path path() const { return home_ / "root"; }

 private:
  LoopImage() = default;
  [[nodiscard]] std::optional<Missing> make(const std::string& type, std::uintmax_t bytes,
                                            const std::vector<std::string>& mkfs_options);

  TempDir home_;
  bool mounted_ = false;
};

}  // namespace ouro::testing
