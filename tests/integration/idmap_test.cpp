// Idmapped mounts of the mount (option idmap): whoever works through one is somebody else in the
// source, exactly as through an idmapped mount of the native directory, which is the oracle.
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/acl.hpp"
#include "tests/integration/blackboard.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/integration/transcript.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::chrono::seconds;

// What is 0 to 65535 in the source is 100000 and so on through the mount.
constexpr const char* kMap = "0 100000 65536";
constexpr uid_t kBase = 100'000;

// A user namespace with that map; empty if there is none to be had.
UniqueFd mapping_namespace() {
  // By a program, since a process with a sanitizer's thread cannot have a user namespace.
  Process holder = Process::start({.arguments = {"unshare", "--user", "sleep", "60"}});
  const std::string proc = "/proc/" + std::to_string(holder.pid());
  const auto write_map = [&](const char* file) {
    std::ofstream out(proc + file);
    out << kMap;
    out.close();
    return !out.fail();
  };
  UniqueFd found;
  // Refused until the namespace is there.
  eventually([&] {
    if (!write_map("/uid_map") || !write_map("/gid_map")) return false;
    found.reset(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    return static_cast<bool>(found);
  });
  holder.signal(SIGKILL);
  return found;
}

// Mounts `directory` at `at` once more, mapped; 0 or an errno.
int mount_mapped(const std::filesystem::path& directory, const std::filesystem::path& at,
                 const UniqueFd& user_namespace) {
  // KERNEL(6.12): through FUSE.
  const UniqueFd tree(
      ::open_tree(AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return errno;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<std::uint64_t>(user_namespace.get());
  const bool mounted =
      ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0 &&
      ::move_mount(tree.get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
  return mounted ? 0 : errno;
}

struct Identity {
  const char* name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};

// By the numbers that they have to the machine.
const std::vector<Identity> kIdentities = {{"root", 0, 0, {}},
                                           {"mapped-root", kBase, kBase, {}},
                                           {"ann", kBase + 1001, kBase + 1001, {}},
                                           {"bob", kBase + 1002, kBase + 1002, {kBase + 2000}},
                                           {"outsider", 1001, 1001, {2000}}};

void become(const Identity& identity) {
  EXPECT_EQ(::setgroups(identity.groups.size(), identity.groups.data()), 0);
  EXPECT_EQ(::setresgid(identity.gid, identity.gid, identity.gid), 0);
  EXPECT_EQ(::setresuid(identity.uid, identity.uid, identity.uid), 0);
}

void create_everything(Transcript& t, const Identity& who) {
  const std::string stem = std::string("open/") + who.name + "-";
  const auto named = [&](const char* kind) { return stem + kind; };
  t.call(stem + "file", ::open(named("file").c_str(), O_WRONLY | O_CREAT, 0666));
  t.call(stem + "dir", ::mkdir(named("dir").c_str(), 02775));
  t.call(stem + "fifo", ::mkfifo(named("fifo").c_str(), 0666));
  t.call(stem + "link", ::symlink("x", named("link").c_str()));
  t.call(stem + "nameless", ::open("open", O_WRONLY | O_TMPFILE, 0666));
  t.call(stem + "in setgid", ::mkdir((std::string("setgid/") + who.name).c_str(), 0777));
  t.call(stem + "rename", ::rename(named("dir").c_str(), named("moved").c_str()));
  t.call(stem + "hard link", ::link(named("file").c_str(), named("second").c_str()));
  for (const char* kind : {"file", "moved", "fifo", "link"}) t.stat(named(kind));
}

void try_everything(Transcript& t, const Identity& who) {
  for (const std::string name : {"of-root", "of-ann", "of-nobody-mapped"}) {
    const std::string label = std::string(who.name) + " " + name;
    const char* f = name.c_str();
    t.stat(name);
    t.call(label + " read", ::open(f, O_RDONLY));
    t.call(label + " write", ::open(f, O_WRONLY));
    t.call(label + " chmod", ::chmod(f, 0640));
    t.call(label + " chgrp", ::chown(f, -1U, kBase + 2000));
    t.call(label + " chown", ::chown(f, kBase + 1002, -1U));
    t.call(label + " chown back", ::chown(f, kBase + 1001, -1U));
    t.call(label + " chown outside", ::chown(f, 5, -1U));
    t.call(label + " utimes", ::utimensat(AT_FDCWD, f, nullptr, 0));
    t.call(label + " xattr", ::setxattr(f, "user.a", "v", 1, 0));
    t.call(label + " trusted", ::setxattr(f, "trusted.a", "v", 1, 0));
    t.value(label + " list", ::listxattr(f, nullptr, 0));
    t.stat(name);
  }
}

// Content is changed by those who may not set the bits.
void clear_set_ids(Transcript& t, const Identity& who) {
  const std::string stem = std::string("set-id/") + who.name;
  const auto file = [&](const char* change) { return stem + "-" + change; };
  const auto opened = [&](const char* change) { return ::open(file(change).c_str(), O_RDWR); };
  t.call(stem + " write", ::write(opened("write"), "x", 1));
  t.call(stem + " truncate", ::truncate(file("truncate").c_str(), 1));
  t.call(stem + " open", ::open(file("open").c_str(), O_WRONLY | O_TRUNC));
  t.call(stem + " fallocate", ::fallocate(opened("fallocate"), 0, 0, 8192));
  t.call(stem + " copy",
         ::copy_file_range(::open("from", O_RDONLY), nullptr, opened("copy"), nullptr, 5, 0));
  for (const char* change : {"write", "truncate", "open", "fallocate", "copy"}) {
    t.stat(file(change));
  }
}

// As the source has it, before anything is mapped.
void prepare(const std::filesystem::path& root) {
  const auto own = [&](const std::string& name, uid_t uid, gid_t gid, mode_t mode) {
    const std::string path = root / name;
    EXPECT_EQ(::chown(path.c_str(), uid, gid) | ::chmod(path.c_str(), mode), 0) << path;
  };
  for (const char* name : {"open", "setgid", "set-id"}) {
    EXPECT_EQ(::mkdir((root / name).c_str(), 0700), 0);
  }
  own("open", 0, 0, 0777);
  own("set-id", 0, 0, 0777);
  own("setgid", 0, 2000, 02777);
  for (const char* name : {"of-root", "of-ann", "of-nobody-mapped", "from"}) {
    make_file(root / name, "content");
  }
  own("of-root", 0, 0, 0644);
  own("of-ann", 1001, 2000, 0660);
  own("of-nobody-mapped", 200'000, 200'000, 0666);
  for (const Identity& who : kIdentities) {
    for (const char* change : {"write", "truncate", "open", "fallocate", "copy"}) {
      const std::string name = std::string("set-id/") + who.name + "-" + change;
      make_file(root / name, "content");
      own(name, 1001, 3000, 06777);
    }
  }
}

// What everybody sees and does there, and what is left behind in the source.
std::vector<std::string> work_through(const std::filesystem::path& mapped,
                                      const std::filesystem::path& source) {
  const Blackboard blackboard;
  for (const Identity& who : kIdentities) {
    in_child(Who::kRoot, [&] {
      ASSERT_EQ(::chdir(mapped.c_str()), 0);
      become(who);
      ::umask(022);
      Transcript t(Transcript::Side::kNative);
      t.note("now acts", who.name);
      create_everything(t, who);
      try_everything(t, who);
      clear_set_ids(t, who);
      blackboard.write(t.lines());
    });
  }
  auto lines = blackboard.lines();
  const auto left = describe_tree(source);
  lines.insert(lines.end(), left.begin(), left.end());
  return lines;
}

class IdmapTest : public ::testing::TestWithParam<std::tuple<const char*, Metadata>> {};

TEST_P(IdmapTest, EqualsAnIdmappedNativeDirectory) {
  OURO_REQUIRE(has_root());
  const auto& [type, metadata] = GetParam();
  auto made = LoopImage::create(type);
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) {
    GTEST_SKIP() << missing->reason;
  }
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  const auto source = image->path() / "source";
  const auto native = image->path() / "native";
  for (const auto& directory : {source, native}) {
    ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0);
    prepare(directory);
  }
  const UniqueFd user_namespace = mapping_namespace();
  ASSERT_TRUE(user_namespace);
  const TempDir mapped;
  for (const char* name : {"native", "mount"}) ASSERT_EQ(::mkdir((mapped / name).c_str(), 0755), 0);
  ASSERT_EQ(mount_mapped(native, mapped / "native", user_namespace), 0);

  const Mode mode{.metadata = metadata, .loops = 2};
  Mounted mounted({.options = mode.options("idmap,allow_other,suid,dev"), .source = source});
  in_child(Who::kRoot, [&] {
    // In the child's own place, because a mount that hangs would take the test with it.
    ASSERT_EQ(mount_mapped(mounted.path(), mapped / "mount", user_namespace), 0);
  });
  EXPECT_EQ(work_through(mapped / "mount", source), work_through(mapped / "native", native));
  struct ::stat found {};
  EXPECT_EQ(::stat((source / "open/ann-file").c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, 1001U) << "the native side may be as wrong";
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
  for (const char* name : {"native", "mount"}) {
    EXPECT_EQ(::umount2((mapped / name).c_str(), MNT_DETACH), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(, IdmapTest,
                         ::testing::Values(std::tuple("ext4", Metadata::kInline),
                                           std::tuple("xfs", Metadata::kNested)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param));
                         });

TEST(WithoutIdmap, TheKernelRefusesIdmappedMounts) {
  OURO_REQUIRE(has_root());
  const Mounted mounted;
  const UniqueFd user_namespace = mapping_namespace();
  ASSERT_TRUE(user_namespace);
  const TempDir mapped;
  in_child(Who::kRoot,
           [&] { EXPECT_EQ(mount_mapped(mounted.path(), mapped.path(), user_namespace), EINVAL); });
}

}  // namespace
}  // namespace ouro::testing
