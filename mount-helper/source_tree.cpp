#include "mount-helper/source_tree.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "loop/result.hpp"
#include "mount-helper/mount_table.hpp"

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

// SOURCE and MOUNTPOINT fail alike; only the word differs.
tl::unexpected<Failure> bad_place(const char* role, const std::string& path, int errno_value) {
  std::string hint;
  if (errno_value == ENOTCONN) {
    hint = "the program that served it is gone; unmount it with: fusermount3 -u " + quoted(path);
  }
  return give_up(ExitCode::kMountFailed,
                 std::string(role) + " " + quoted(path) + ": " + errno_text(errno_value),
                 std::move(hint));
}

Outcome<std::string> resolve(const char* role, const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> absolute(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  if (absolute == nullptr) return bad_place(role, path, errno);
  struct stat attributes {};
  if (::stat(absolute.get(), &attributes) != 0) return bad_place(role, path, errno);
  if (!S_ISDIR(attributes.st_mode)) return bad_place(role, path, ENOTDIR);
  return std::string(absolute.get());
}

// Both absolute and without symbolic links; strictly: a directory is not inside itself.
bool is_inside(const std::string& path, const std::string& directory) {
  const std::string prefix = directory.ends_with('/') ? directory : directory + "/";
  return path.size() > prefix.size() && path.starts_with(prefix);
}

// A detached copy of the mounts below `path`, which takes no part in their propagation.
loop::Result<UniqueFd> clone_privately(const std::string& path, Submounts submounts,
                                       std::uint64_t wanted) {
  const unsigned recursion = submounts == Submounts::kInclude ? AT_RECURSIVE : 0;
  UniqueFd clone(
      ::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursion));
  if (!clone) return loop::fail(errno);
  // KERNEL(6.18): a clone joins the peer group of what it copies, so that unmounting something
  // below SOURCE would take it out of the clone as well.
  struct mount_attr attributes {};
  attributes.propagation = MS_PRIVATE;
  attributes.attr_set = wanted;
  if ((wanted & MOUNT_ATTR__ATIME) != 0) attributes.attr_clr = MOUNT_ATTR__ATIME;  // one of several
  OURO_TRY(loop::to_status(loop::from_libc(::mount_setattr(
      clone.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)))));
  return clone;
}

// libfuse would stack a second mount without a word; starting ourofs twice is nearly always a slip.
Outcome<void> require_free(const std::string& mountpoint) {
  const auto id = mount_at(mountpoint);
  if (!id) return {};
  const auto mount = find_mount(*id);
  if (!mount || mount->path != mountpoint || mount->type != "fuse.ourofs") return {};
  return give_up(ExitCode::kMountFailed,
                 "mountpoint " + quoted(mountpoint) + " is busy: ourofs already serves " +
                     quoted(mount->source) + " there",
                 "unmount it with: fusermount3 -u " + quoted(mountpoint));
}

bool is_whole_file_system(const std::string& path) {
  const auto id = mount_at(path);
  const auto mount = id ? find_mount(*id) : std::nullopt;
  return mount && mount->path == path && mount->root == "/";
}

}  // namespace

Outcome<Places> resolve_places(const std::string& source, const std::string& mountpoint) {
  auto source_path = resolve("source", source);
  if (!source_path) return tl::unexpected(source_path.error());
  // Asked with the effective identity: the one that will serve.
  if (::faccessat(AT_FDCWD, source_path->c_str(), R_OK | X_OK, AT_EACCESS) != 0) {
    return bad_place("source", source, errno);
  }
  auto mountpoint_path = resolve("mountpoint", mountpoint);
  if (!mountpoint_path) return tl::unexpected(mountpoint_path.error());
  if (is_inside(*source_path, *mountpoint_path)) {
    return give_up(ExitCode::kMountFailed, "source " + quoted(source) + " is inside mountpoint " +
                                               quoted(mountpoint) + ", which would hide it");
  }
  if (*source_path != *mountpoint_path) {
    if (auto free = require_free(*mountpoint_path); !free) return tl::unexpected(free.error());
  }
  return Places{*std::move(source_path), *std::move(mountpoint_path)};
}

Outcome<SourceTree> open_source_tree(const std::string& path, Submounts submounts,
                                     std::uint64_t attributes) {
  SourceTree tree;
  tree.path = path;
  tree.is_whole = is_whole_file_system(path);
  tree.pin = UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!tree.pin) return bad_place("source", path, errno);
  // Only a privileged process may clone mounts; for everyone else the shared view has to do.
  if (auto clone = clone_privately(path, submounts, attributes)) {
    tree.root = *std::move(clone);
    tree.view = SourceTree::View::kPrivateClone;
    return tree;
  }
  tree.root = UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!tree.root) return bad_place("source", path, errno);
  return tree;
}

}  // namespace ouro::mount_helper
