// Whose file it is and who may do what with it, in the corners: long lists of groups, umasks and
// default ACLs in every combination, sticky directories, links and FIFOs that the kernel protects,
// namespaces of attributes, and users of other namespaces. Native is the oracle.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/acl.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/identity.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;

constexpr gid_t kFirstGroup = 3000;

std::vector<gid_t> many_groups(std::size_t count) {
  std::vector<gid_t> groups(count);
  std::iota(groups.begin(), groups.end(), kFirstGroup);
  return groups;
}

const Identity kAnn{"ann", 1001, 1001};
const Identity kBob{"bob", 1002, 1002, {2000}};
const Identity kCid{"cid", 1003, 1003, {2000, 2001}};
const Identity kRoot{"root", 0, 0};

void make_directory(const std::string& name, uid_t uid, gid_t gid, mode_t mode) {
  EXPECT_EQ(::mkdir(name.c_str(), 0700), 0) << name;
  EXPECT_EQ(::chown(name.c_str(), uid, gid), 0) << name;
  EXPECT_EQ(::chmod(name.c_str(), mode), 0) << name;
}

void make_file_of(const std::string& name, uid_t uid, gid_t gid, mode_t mode) {
  make_file(name, "text");
  EXPECT_EQ(::chown(name.c_str(), uid, gid), 0) << name;
  EXPECT_EQ(::chmod(name.c_str(), mode), 0) << name;
}

long open_and_close(const std::string& path, int flags, mode_t mode = 0) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, mode)) ? 0 : -1;
}

void note_acl(Transcript& t, const std::string& path, const char* name) {
  std::array<char, 1024> value{};
  const ssize_t bytes = ::getxattr(path.c_str(), name, value.data(), value.size());
  std::string text;
  for (ssize_t i = 0; i < bytes; ++i) {
    text += std::to_string(static_cast<unsigned char>(value[static_cast<std::size_t>(i)])) + " ";
  }
  t.note(path + " " + name, bytes < 0 ? Transcript::error_name(errno) : text);
}

void note_rights(Transcript& t, const std::string& path) {
  t.stat(path);
  note_acl(t, path, kAccessAcl);
  note_acl(t, path, kDefaultAcl);
}

// Everything that membership of the group which owns `directory` decides about.
void use_membership(Transcript& t, const std::string& directory, gid_t group) {
  const std::string file = directory + "/file";
  t.call("read", open_and_close(file, O_RDONLY));
  t.call("write", open_and_close(file, O_WRONLY));
  t.call("may write", ::access(file.c_str(), W_OK));
  t.call("list", open_and_close(directory, O_RDONLY | O_DIRECTORY));
  const std::string made = directory + "/made";
  t.call("create", open_and_close(made, O_WRONLY | O_CREAT | O_EXCL, 02755));
  t.call("mkdir", ::mkdir((made + "-directory").c_str(), 0755));
  t.call("mkfifo", ::mkfifo((made + "-fifo").c_str(), 0644));
  t.call("symlink", ::symlink("x", (made + "-symlink").c_str()));
  t.call("nameless", open_and_close(directory, O_WRONLY | O_TMPFILE, 02755));
  t.call("chgrp", ::chown(made.c_str(), static_cast<uid_t>(-1), group));
  t.call("set-gid", ::chmod(made.c_str(), 02764));
  for (const char* suffix : {"", "-directory", "-fifo", "-symlink"}) t.stat(made + suffix);
  // SGID without group execution stays for members only.
  const UniqueFd fd(::open(made.c_str(), O_WRONLY));
  t.value("change", ::write(fd.get(), "text", 4));
  t.stat(made);
  t.call("rename", ::rename(made.c_str(), (made + "2").c_str()));
  t.call("unlink", ::unlink((made + "2").c_str()));
}

void long_group_lists(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  for (const std::size_t count : {1UL, 33UL, 40UL, 2000UL}) {
    const auto last = static_cast<gid_t>(kFirstGroup + count - 1);
    for (const mode_t mode : {0770U, 02770U}) {
      const std::string name = std::to_string(count) + "-" + std::to_string(mode);
      make_directory(name, 0, last, mode);
      make_file_of(name + "/file", 0, last, 0660);
      const Identity member{"member of the last", 1001, 1001, many_groups(count)};
      const Identity stranger{"member of all but the last", 1002, 1002, many_groups(count - 1)};
      for (const Identity* who : {&member, &stranger}) {
        as(*who, t, [&](Transcript& own) { use_membership(own, name, last); });
      }
    }
  }
}

// A file is not made with the SGID bit of a group that its maker is not in (CVE-2022-0358).
void set_gid_directories(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  make_directory("shared", 0, 2000, 02777);
  for (const Identity* who : {&kAnn, &kBob, &kRoot}) {
    const std::string stem = std::string("shared/") + who->name;
    as(*who, t, [&](Transcript& own) {
      for (const mode_t mode : {02755U, 02745U, 06777U, 02000U}) {
        const std::string name = stem + std::to_string(mode);
        own.call(name, open_and_close(name, O_WRONLY | O_CREAT | O_EXCL, mode));
        own.call(name, ::mknod((name + "-node").c_str(), S_IFREG | mode, 0));
        own.call(name, ::mkdir((name + "-directory").c_str(), mode));
        for (const char* suffix : {"", "-node", "-directory"}) own.stat(name + suffix);
      }
      own.call("below", ::mkdir((stem + "1517-directory/below").c_str(), 0755));
      own.call("set again", ::chmod((stem + "1517").c_str(), 02755));
      own.stat(stem + "1517");
    });
  }
}

struct Shape {
  const char* name;
  std::vector<AclEntry> entries;
};

// Valid lists only; the first shape is none at all.
const std::vector<Shape>& shapes() {
  using enum AclEntry::Tag;
  static const std::vector<Shape> all = {
      {"none", {}},
      {"minimal", {{kUserObj, 7}, {kGroupObj, 5}, {kOther, 5}}},
      {"nothing", {{kUserObj, 0}, {kGroupObj, 0}, {kOther, 0}}},
      {"all", {{kUserObj, 7}, {kGroupObj, 7}, {kOther, 7}}},
      {"user", {{kUserObj, 7}, {kUser, 6, 1002}, {kGroupObj, 5}, {kMask, 7}, {kOther, 0}}},
      {"masked", {{kUserObj, 6}, {kUser, 7, 1002}, {kGroupObj, 7}, {kMask, 0}, {kOther, 4}}},
      {"group", {{kUserObj, 7}, {kGroupObj, 4}, {kGroup, 6, 2000}, {kMask, 5}, {kOther, 1}}},
      {"both",
       {{kUserObj, 5},
        {kUser, 7, 1002},
        {kGroupObj, 1},
        {kGroup, 3, 2000},
        {kMask, 3},
        {kOther, 7}}}};
  return all;
}

void make_under(Transcript& t, const std::string& directory, mode_t mask) {
  ::umask(mask);
  for (const mode_t mode : {0777U, 0640U}) {
    const std::string name = directory + "/" + std::to_string(mask) + "-" + std::to_string(mode);
    t.call("open", open_and_close(name + "-file", O_WRONLY | O_CREAT, mode));
    t.call("mkdir", ::mkdir((name + "-directory").c_str(), mode));
    t.call("mknod", ::mknod((name + "-node").c_str(), S_IFIFO | mode, 0));
    const UniqueFd nameless(::open(directory.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, mode));
    t.fstat("nameless", nameless.get());
    for (const char* suffix : {"-file", "-directory", "-node"}) note_rights(t, name + suffix);
  }
}

void umasks_and_default_acls(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  for (const Shape& shape : shapes()) {
    make_directory(shape.name, kAnn.uid, kAnn.gid, 0777);
    const std::string acl = encode_acl(shape.entries);
    if (!shape.entries.empty()) {
      EXPECT_EQ(::setxattr(shape.name, kDefaultAcl, acl.data(), acl.size(), 0), 0) << shape.name;
    }
    as(kAnn, t, [&](Transcript& own) {
      for (const mode_t mask : {0U, 02U, 07U, 022U, 027U, 077U, 0177U, 0777U}) {
        make_under(own, shape.name, mask);
      }
    });
  }
}

// The group's bits of the mode and the mask of the ACL are one thing.
void modes_and_access_acls(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0777), 0);
  for (const Shape& shape : shapes()) {
    const std::string acl = encode_acl(shape.entries);
    const std::string file = shape.name;
    make_file_of(file, kAnn.uid, 2000, 02664);
    as(kAnn, t, [&](Transcript& own) {
      own.call("set", ::setxattr(file.c_str(), kAccessAcl, acl.data(), acl.size(), 0));
      note_rights(own, file);
      for (const mode_t mode : {0777U, 0700U, 0070U, 0007U, 02755U, 04711U, 0640U, 0U}) {
        own.call("chmod", ::chmod(file.c_str(), mode));
        note_rights(own, file);
      }
      own.call("set again", ::setxattr(file.c_str(), kAccessAcl, acl.data(), acl.size(), 0));
      note_rights(own, file);
    });
    for (const Identity* who : {&kAnn, &kBob, &kCid}) {
      as(*who, t, [&](Transcript& own) {
        own.call("read " + file, open_and_close(file, O_RDONLY));
        own.call("write " + file, open_and_close(file, O_WRONLY));
        own.call("execute " + file, ::access(file.c_str(), X_OK));
        own.call("take away " + file, ::removexattr(file.c_str(), kAccessAcl));
      });
    }
  }
}

void leave_and_come(Transcript& t, const std::string& directory, const Identity& who) {
  const std::string theirs = directory + "/of-ann";
  const std::string mine = directory + "/of-" + who.name + "-now";
  t.call("make", open_and_close(mine, O_WRONLY | O_CREAT, 0644));
  t.call("rename onto theirs", ::rename(mine.c_str(), theirs.c_str()));
  t.call("exchange",
         ::renameat2(AT_FDCWD, mine.c_str(), AT_FDCWD, theirs.c_str(), RENAME_EXCHANGE));
  t.call("rename theirs", ::rename(theirs.c_str(), (theirs + "2").c_str()));
  t.call("rename back", ::rename((theirs + "2").c_str(), theirs.c_str()));
  t.call("remove theirs", ::unlink(theirs.c_str()));
  t.call("remove their directory", ::rmdir((directory + "/directory-of-ann").c_str()));
  t.call("remove mine", ::unlink(mine.c_str()));
  t.call("attribute", ::setxattr(directory.c_str(), "user.a", "v", 1, 0));
  t.call("attribute", ::removexattr(directory.c_str(), "user.a"));
}

void sticky_directories(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  for (const mode_t mode : {0777U, 01777U, 01775U}) {
    for (const Identity* who : {&kAnn, &kBob, &kCid, &kRoot}) {
      const std::string directory = std::to_string(mode) + "-" + who->name;
      make_directory(directory, kBob.uid, 2000, mode);
      make_file_of(directory + "/of-ann", kAnn.uid, kAnn.gid, 0666);
      make_directory(directory + "/directory-of-ann", kAnn.uid, kAnn.gid, 0755);
      as(*who, t, [&](Transcript& own) { leave_and_come(own, directory, *who); });
    }
  }
}

// What somebody has looked at is closed to him as soon as its directory is.
void closed_directories(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  make_directory("d", kAnn.uid, 2000, 0755);
  make_file_of("d/f", kAnn.uid, kAnn.gid, 0644);
  const auto look = [&](const Identity& who) {
    as(who, t, [](Transcript& own) {
      own.stat("d/f");
      own.call("read", open_and_close("d/f", O_RDONLY));
      own.call("list", open_and_close("d", O_RDONLY | O_DIRECTORY));
      own.stat("d/missing");
    });
  };
  look(kCid);
  for (const mode_t mode : {0700U, 0750U, 0710U, 0704U, 0755U}) {
    as(kAnn, t, [&](Transcript& own) { own.call("chmod", ::chmod("d", mode)); });
    for (const Identity* who : {&kAnn, &kBob, &kCid, &kRoot}) look(*who);
  }
}

// Whatever fs.protected_* are on this machine: they hold for everybody, so they are only read.
void protected_links_and_files(Transcript& t) {
  for (const char* name : {"symlinks", "hardlinks", "fifos", "regular"}) {
    t.note(name, read_file(std::string("/proc/sys/fs/protected_") + name));
  }
  EXPECT_EQ(::chmod(".", 0755), 0);
  for (const mode_t mode : {0777U, 01777U, 01770U}) {
    const std::string directory = std::to_string(mode);
    make_directory(directory, 0, 2000, mode);
    make_file_of(directory + "/target", 0, 0, 0666);
    make_file_of(directory + "/unreadable", 0, 0, 0600);
    make_file_of(directory + "/set-id", 0, 0, 04755);
    make_file_of(directory + "/of-ann", kAnn.uid, kAnn.gid, 0666);
    EXPECT_EQ(::symlink("target", (directory + "/symlink-of-ann").c_str()), 0);
    EXPECT_EQ(::lchown((directory + "/symlink-of-ann").c_str(), kAnn.uid, kAnn.gid), 0);
    EXPECT_EQ(::mkfifo((directory + "/fifo-of-ann").c_str(), 0666), 0);
    EXPECT_EQ(::chown((directory + "/fifo-of-ann").c_str(), kAnn.uid, kAnn.gid), 0);
    EXPECT_EQ(::chmod((directory + "/fifo-of-ann").c_str(), 0666), 0);
    for (const Identity* who : {&kAnn, &kBob, &kRoot}) {
      as(*who, t, [&](Transcript& own) {
        const auto in = [&](const char* name) { return directory + "/" + name; };
        own.call("follow", open_and_close(in("symlink-of-ann"), O_RDONLY));
        own.call("create by symlink", open_and_close(in("symlink-of-ann"), O_RDWR | O_CREAT, 0600));
        own.call("stat by symlink", ::access(in("symlink-of-ann").c_str(), F_OK));
        own.call("create file", open_and_close(in("of-ann"), O_RDWR | O_CREAT, 0600));
        own.call("truncate file", open_and_close(in("of-ann"), O_RDWR | O_CREAT | O_TRUNC, 0600));
        own.call("create fifo",
                 open_and_close(in("fifo-of-ann"), O_RDWR | O_CREAT | O_NONBLOCK, 0600));
        for (const char* name : {"target", "unreadable", "set-id", "of-ann", "fifo-of-ann"}) {
          own.call(std::string("link to ") + name,
                   ::link(in(name).c_str(), in((std::string(who->name) + name).c_str()).c_str()));
        }
      });
    }
  }
}

void set_and_look(Transcript& t, const std::string& file, const std::string& name,
                  const std::string& value) {
  const char* f = file.c_str();
  const char* n = name.c_str();
  t.call(file + " set " + name, ::setxattr(f, n, value.data(), value.size(), 0));
  t.value(file + " get " + name, ::getxattr(f, n, nullptr, 0));
  t.value(file + " list", ::listxattr(f, nullptr, 0));
  t.call(file + " remove " + name, ::removexattr(f, n));
}

void attribute_namespaces(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0755), 0);
  make_file_of("theirs", 0, 0, 0666);
  make_file_of("mine", kAnn.uid, kAnn.gid, 0644);
  make_directory("directory", kAnn.uid, kAnn.gid, 0755);
  for (const char* name : {"theirs", "mine", "directory"}) {
    EXPECT_EQ(::setxattr(name, "trusted.secret", "s", 1, 0), 0);
    EXPECT_EQ(::setxattr(name, "user.open", "o", 1, 0), 0);
  }
  vfs_cap_data capability{};
  capability.magic_etc = VFS_CAP_REVISION_2;
  capability.data[0].permitted = 1;
  const std::string bytes(reinterpret_cast<const char*>(&capability), sizeof capability);
  const std::string acl = encode_acl(shapes()[4].entries);
  for (const Identity* who : {&kAnn, &kBob, &kRoot}) {
    as(*who, t, [&](Transcript& own) {
      for (const char* file : {"theirs", "mine", "directory"}) {
        for (const char* name :
             {"user.a", "trusted.a", "trusted.secret", "security.ouro", "security.evm",
              "security.ima", "security.selinux", "ouro.a", "system.ouro"}) {
          set_and_look(own, file, name, "value");
        }
        set_and_look(own, file, "security.capability", bytes);
        set_and_look(own, file, kAccessAcl, acl);
        set_and_look(own, file, kDefaultAcl, acl);
      }
    });
  }
}

// A list of names has a limit of its own, and a file can have more of them.
void large_attributes(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0777), 0);
  make_file_of("f", kAnn.uid, kAnn.gid, 0644);
  as(kAnn, t, [](Transcript& own) {
    for (const std::size_t bytes : {4096UL, 65'535UL, 65'536UL, 65'537UL}) {
      const std::string value(bytes, 'v');
      own.call("set " + std::to_string(bytes), ::setxattr("f", "user.v", value.data(), bytes, 0));
      own.value("size", ::getxattr("f", "user.v", nullptr, 0));
      std::string read(bytes, ' ');
      own.value("read", ::getxattr("f", "user.v", read.data(), read.size()));
    }
    own.call("remove", ::removexattr("f", "user.v"));
    for (int i = 0; i < 300; ++i) {
      const std::string name = "user." + std::string(240, 'n') + std::to_string(i);
      EXPECT_EQ(::setxattr("f", name.c_str(), "v", 1, 0), 0) << i;
    }
    std::vector<char> names(65'536);
    own.value("list", ::listxattr("f", names.data(), names.size()));
    // KERNEL: the client never says more (fs/fuse/xattr.c, fuse_listxattr()).
    own.value("size of the list", std::min(::listxattr("f", nullptr, 0), ssize_t{XATTR_LIST_MAX}));
    own.value("short list", ::listxattr("f", names.data(), 1000));
  });
}

// What somebody sees and may do whose user namespace has these ids only.
struct Namespace {
  const char* name;
  const char* map;  // of users and of groups
};
constexpr Namespace kNamespaces[] = {{"one-user", "0 1001 1\n"},
                                     {"two-users", "0 1001 1\n1 1002 1\n"},
                                     {"root-and-one-user", "0 0 1\n1 1001 1\n"},
                                     {"foreign-user", "0 100000 10\n"}};

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// Becomes the root of a new user namespace with that map. A process that is in it already cannot
// write maps of several lines, so a child that stays behind does.
bool enter_namespace(const Namespace& space) {
  const pid_t self = ::getpid();
  Process writer = Process::run(Who::kRoot, [&] {
    const std::string proc = "/proc/" + std::to_string(self);
    const auto own = std::filesystem::read_symlink("/proc/self/ns/user");
    if (!eventually([&] { return std::filesystem::read_symlink(proc + "/ns/user") != own; })) {
      return 1;
    }
    return write_text(proc + "/gid_map", space.map) && write_text(proc + "/uid_map", space.map) ? 0
                                                                                                : 1;
  });
  return ::unshare(CLONE_NEWUSER) == 0 && writer.wait(std::chrono::seconds(20)) == kExitOk &&
         ::setgroups(0, nullptr) == 0 && ::setresgid(0, 0, 0) == 0 && ::setresuid(0, 0, 0) == 0;
}

void use_as_namespace_root(Transcript& t) {
  for (const char* name : {"of-root", "of-ann", "of-bob"}) {
    const std::string file = name;
    t.stat(file);
    t.call(file + " read", open_and_close(file, O_RDONLY));
    t.call(file + " chmod", ::chmod(name, 04755));
    t.call(file + " chown to the other", ::chown(name, 1, 1));
    t.call(file + " chown to nobody", ::chown(name, 500, 500));
    t.call(file + " chown to root", ::chown(name, 0, 0));
    t.call(file + " trusted", ::setxattr(name, "trusted.a", "v", 1, 0));
    t.call(file + " user", ::setxattr(name, "user.a", "v", 1, 0));
    t.value(file + " list", ::listxattr(name, nullptr, 0));
    const UniqueFd fd(::open(name, O_WRONLY));
    t.value(file + " write", ::write(fd.get(), "more", 4));
    t.stat(file);
    const std::string directory = "directory-" + file;
    t.call(directory + " create", open_and_close(directory + "/f", O_WRONLY | O_CREAT, 06755));
    t.call(directory + " mkdir", ::mkdir((directory + "/d").c_str(), 0755));
    t.call(directory + " device", ::mknod((directory + "/n").c_str(), S_IFCHR | 0644, 0));
    t.call(directory + " symlink", ::symlink("x", (directory + "/s").c_str()));
    for (const char* made : {"/f", "/d", "/s"}) t.stat(directory + made);
    t.call(directory + " unlink", ::unlink((directory + "/s").c_str()));
  }
}

void user_namespaces(Transcript& t) {
  const std::string top = std::filesystem::current_path();
  for (const Namespace& space : kNamespaces) {
    make_directory(space.name, 0, 0, 0777);
    EXPECT_EQ(::chdir((top + "/" + space.name).c_str()), 0);
    for (const Identity* who : {&kRoot, &kAnn, &kBob}) {
      const std::string name = std::string("of-") + who->name;
      make_file_of(name, who->uid, who->gid, 0600);
      make_directory("directory-" + name, who->uid, who->gid, 0700);
    }
    EXPECT_EQ(::setxattr("of-root", "trusted.secret", "s", 1, 0), 0);
    EXPECT_EQ(::setxattr("of-ann", "trusted.secret", "s", 1, 0), 0);
    as(kRoot, t, [&](Transcript& own) {
      own.call(space.name, enter_namespace(space) ? 0 : -1);
      use_as_namespace_root(own);
    });
    EXPECT_EQ(::chdir(top.c_str()), 0);
  }
}

class IdentityMatrix : public ::testing::TestWithParam<std::tuple<Mode, const char*>> {};

TEST_P(IdentityMatrix, EqualsNative) {
  const auto& [mode, option] = GetParam();
  OURO_REQUIRE(has_root());
  auto made = LoopImage::create("xfs");
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) GTEST_SKIP() << missing->reason;
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  std::filesystem::create_directory(image->path() / "source");
  Mounted mounted({.options = mode.options(std::string("allow_other,dev,suid") + option),
                   .source = image->path() / "source"});
  compare_with_native(mounted, {{"long-group-lists", long_group_lists},
                                {"set-gid-directories", set_gid_directories},
                                {"umasks-and-default-acls", umasks_and_default_acls},
                                {"modes-and-access-acls", modes_and_access_acls},
                                {"sticky-directories", sticky_directories},
                                {"closed-directories", closed_directories},
                                {"protected-links-and-files", protected_links_and_files},
                                {"attribute-namespaces", attribute_namespaces},
                                {"large-attributes", large_attributes},
                                {"user-namespaces", user_namespaces}});
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , IdentityMatrix,
    ::testing::Values(
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 2}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kKernel, Metadata::kInline, 2}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 1}, ",cache=never")),
    [](const auto& instance) {
      const std::string option = std::get<1>(instance.param);
      return std::get<0>(instance.param).name() + (option.empty() ? "" : "CacheNever");
    });

}  // namespace
}  // namespace ouro::testing
