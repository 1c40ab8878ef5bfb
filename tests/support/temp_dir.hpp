// A fresh directory that is removed, with everything in it, when the object goes away.
//
// It never removes across a mount point: what another file system shows below it stays, and the
// test that left it mounted fails.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

namespace ouro::testing {

class TempDir {
 public:
  // Made in `parent` with mode 0755, so that tests with several users can reach into it. The
  // default parent is $TMPDIR, or /tmp.
  explicit TempDir(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string name = parent / "ouro-test-XXXXXX";
    struct stat made {};
    if (::mkdtemp(name.data()) == nullptr || ::chmod(name.c_str(), 0755) != 0 ||
        ::lstat(name.c_str(), &made) != 0) {
      throw std::system_error(errno, std::generic_category(), name);
    }
    path_ = name;
    device_ = made.st_dev;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    if (!remove_tree(path_)) ADD_FAILURE() << path_ << " is left behind, is it still mounted?";
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::filesystem::path& name) const {
    return path_ / name;
  }

 private:
  [[nodiscard]] bool remove_tree(const std::filesystem::path& path) const {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) return errno == ENOENT;
    if (found.st_dev != device_) return false;
    if (!S_ISDIR(found.st_mode)) return ::unlink(path.c_str()) == 0;
    if ((found.st_mode & S_IRWXU) != S_IRWXU) (void)::chmod(path.c_str(), S_IRWXU);
    std::error_code error;
    bool removed = true;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      removed &= remove_tree(entry.path());
    }
    return removed && ::rmdir(path.c_str()) == 0;
  }

  std::filesystem::path path_;
  dev_t device_ = 0;
};

}  // namespace ouro::testing
