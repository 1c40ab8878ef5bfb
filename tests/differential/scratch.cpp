#include "tests/differential/scratch.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tests/differential/observe.hpp"

namespace ouro::differential {
namespace {

constexpr std::size_t kListBytes = 65536;

loop::Status make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) return loop::fail(errno);
  return loop::to_status(loop::from_libc(::chmod(path.c_str(), mode)));
}

loop::Result<loop::UniqueFd> open_directory(const std::string& path) {
  loop::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return loop::fail(errno);
  return fd;
}

// top/a/b/c/root; whoever the workers are may do anything in the root.
loop::Result<loop::UniqueFd> make_levels(const std::string& top, Interval& made) {
  made.begin_ns = clock_ns(CLOCK_REALTIME_COARSE);
  std::string path = top;
  OURO_TRY(make_directory(path, 0755));
  for (const char* level : {"/a", "/b", "/c", "/root"}) {
    path += level;
    OURO_TRY(make_directory(path, level == std::string("/root") ? 0777 : 0755));
  }
  made.end_ns = clock_ns(CLOCK_REALTIME);
  return open_directory(path);
}

// Removes the tree; who is not root must open up directories first. True when it is gone.
bool remove_tree(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  ::fchmodat(parent, name.c_str(), 0700, 0);
  const loop::UniqueFd directory(
      ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return false;
  const auto entries = read_all_entries(directory.get(), kListBytes);
  if (entries) {
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name != "." && entry.name != "..") remove_tree(directory.get(), entry.name);
    }
  }
  return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0;
}

}  // namespace

loop::Result<Scratch> Scratch::create(const SidePaths& sides, const std::string& name) {
  Scratch scratch;
  scratch.tops_ = {sides.native + "/" + name, sides.mount + "/" + name,
                   sides.mount_source + "/" + name};
  (void)scratch.remove();
  OURO_TRY_ASSIGN(scratch.native_root_, make_levels(scratch.tops_.native, scratch.native_made_));
  OURO_TRY_ASSIGN(scratch.mount_root_, make_levels(scratch.tops_.mount, scratch.mount_made_));
  return scratch;
}

loop::Result<loop::UniqueFd> Scratch::open_native() const {
  return open_directory(tops_.native);
}

loop::Result<loop::UniqueFd> Scratch::open_mount() const {
  return open_directory(tops_.mount);
}

loop::Result<loop::UniqueFd> Scratch::open_mount_source() const {
  return open_directory(tops_.mount_source);
}

std::vector<std::string> Scratch::remove() {
  native_root_.reset();
  mount_root_.reset();
  remove_tree(AT_FDCWD, tops_.native);
  remove_tree(AT_FDCWD, tops_.mount);
  std::vector<std::string> left;
  struct stat attributes {};
  for (const std::string& top : {tops_.native, tops_.mount_source}) {
    if (::lstat(top.c_str(), &attributes) != 0) continue;
    left.push_back(top);
    remove_tree(AT_FDCWD, top);
  }
  return left;
}

}  // namespace ouro::differential
