#include "tests/differential/tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "loop/unique_fd.hpp"
#include "tests/differential/call.hpp"
#include "tests/differential/observe.hpp"
#include "tests/differential/payload.hpp"

namespace ouro::differential {
namespace {

constexpr std::size_t kXattrBytes = 65536;
constexpr std::size_t kListBytes = 65536;

// A file of another user may be read by root only; everybody may at least try without O_NOATIME.
loop::UniqueFd open_quietly(const std::string& path, int flags) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  loop::UniqueFd fd(::open(path.c_str(), kFlags | O_NOATIME | flags));
  if (!fd && errno == EPERM) fd.reset(::open(path.c_str(), kFlags | flags));
  return fd;
}

class TreeWalk {
 public:
  explicit TreeWalk(std::uint64_t device)
      : device_(device), buffer_(kXattrBytes), list_(kXattrBytes) {}

  void visit(const std::string& path) {
    struct stat attributes {};
    Outcome seen;
    if (!seen.finish(::lstat(path.c_str(), &attributes))) {
      tree_.entries.push_back({path, std::move(seen)});
      return;
    }
    observe_stat(seen, "", attributes, device_);
    if (!S_ISDIR(attributes.st_mode)) {
      seen.text("links", first_path_.try_emplace(attributes.st_ino, path).first->second);
    }
    add_xattrs(path, seen);
    if (S_ISLNK(attributes.st_mode)) add_target(path, seen);
    if (S_ISREG(attributes.st_mode)) add_content(path, attributes.st_size, seen);
    std::vector<std::string> names;
    if (S_ISDIR(attributes.st_mode)) names = add_names(path, seen);
    tree_.entries.push_back({path, std::move(seen)});
    for (const std::string& name : names) visit(path + "/" + name);
  }

  [[nodiscard]] Tree take() {
    std::sort(tree_.entries.begin(), tree_.entries.end(),
              [](const TreeEntry& a, const TreeEntry& b) { return a.path < b.path; });
    return std::move(tree_);
  }

 private:
  void add_xattrs(const std::string& path, Outcome& seen) {
    const ssize_t size =
        ::llistxattr(path.c_str(), reinterpret_cast<char*>(list_.data()), list_.size());
    if (size < 0) {
      seen.text("xattrs", errno_name(errno));
      return;
    }
    for (const std::string& name : split_xattr_names(list_.first(size))) {
      const ssize_t length =
          ::lgetxattr(path.c_str(), name.c_str(), buffer_.data(), buffer_.size());
      seen.text("xattr " + name,
                length < 0 ? errno_name(errno) : describe_xattr(name, buffer_.first(length)));
    }
  }

  void add_target(const std::string& path, Outcome& seen) {
    auto* text = reinterpret_cast<char*>(buffer_.data());
    const ssize_t length = ::readlink(path.c_str(), text, buffer_.size());
    seen.text("target",
              length < 0 ? errno_name(errno) : escape({text, static_cast<std::size_t>(length)}));
  }

  void add_content(const std::string& path, std::int64_t size, Outcome& seen) {
    const loop::UniqueFd file = open_quietly(path, 0);
    seen.text("content", file ? describe_content(file.get(), size) : errno_name(errno));
  }

  // Sorted, so that the first path of an inode is the same one in every tree.
  std::vector<std::string> add_names(const std::string& path, Outcome& seen) {
    const loop::UniqueFd directory = open_quietly(path, O_DIRECTORY);
    if (!directory) {
      seen.text("names", errno_name(errno));
      return {};
    }
    const auto entries = read_all_entries(directory.get(), kListBytes);
    seen.text("names", entries ? describe_entries(*entries) : errno_name(entries.error().value()));
    std::vector<std::string> names;
    if (!entries) return names;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::uint64_t device_;
  std::map<std::uint64_t, std::string> first_path_;
  Buffer buffer_;
  Buffer list_;
  Tree tree_;
};

Difference existence(const std::string& path, bool native_has_it) {
  const char* texts[] = {"missing", "present"};
  return {"exists",
          texts[native_has_it ? 1 : 0],
          texts[native_has_it ? 0 : 1],
          Relation::kNone,
          FactKind::kText,
          path};
}

}  // namespace

loop::Result<Tree> walk_tree(int directory) {
  struct stat attributes {};
  OURO_TRY(loop::to_status(loop::from_libc(::fstat(directory, &attributes))));
  OURO_TRY(loop::to_status(loop::from_libc(::fchdir(directory))));
  const std::int64_t begin_ns = clock_ns(CLOCK_REALTIME_COARSE);
  TreeWalk walk(attributes.st_dev);
  walk.visit(".");
  Tree tree = walk.take();
  tree.when = {begin_ns, clock_ns(CLOCK_REALTIME)};
  OURO_TRY(loop::to_status(loop::from_libc(::chdir("/"))));
  return tree;
}

std::vector<TreeDifference> compare_trees(const Tree& native, const Tree& mount,
                                          const Yardstick& yardstick) {
  std::vector<TreeDifference> all;
  auto left = native.entries.begin();
  auto right = mount.entries.begin();
  while (left != native.entries.end() || right != mount.entries.end()) {
    if (right == mount.entries.end() ||
        (left != native.entries.end() && left->path < right->path)) {
      all.push_back({existence(left->path, true), &left->seen});
      ++left;
    } else if (left == native.entries.end() || right->path < left->path) {
      all.push_back({existence(right->path, false), nullptr});
      ++right;
    } else {
      for (Difference& difference : compare_outcomes(left->seen, right->seen, yardstick)) {
        difference.subject = left->path;
        all.push_back({std::move(difference), &left->seen});
      }
      ++left;
      ++right;
    }
  }
  return all;
}

}  // namespace ouro::differential
