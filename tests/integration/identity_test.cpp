// A file made through the mount belongs to who made it, as natively: several users on one mount of
// root's, with set-group-ID directories, umasks and default ACLs.
#include "tests/integration/identity.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/acl.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

const std::vector<Identity> kIdentities = {{"root", 0, 0},
                                           {"ann", 1001, 1001},
                                           {"bob", 1002, 1002, {2000}},
                                           {"cid", 1003, 1003, {2000, 2001}}};

// Every kind of file with every umask, in this directory.
void make_everything(Transcript& t, const std::string& directory, const Identity& who) {
  for (const mode_t mask : {0U, 022U, 077U}) {
    ::umask(mask);
    const std::string stem = directory + "/" + who.name + std::to_string(mask) + "-";
    const auto named = [&](const char* kind) { return stem + kind; };
    t.call(stem + "file", ::open(named("file").c_str(), O_WRONLY | O_CREAT, 0666));
    t.call(stem + "setgid", ::open(named("setgid").c_str(), O_WRONLY | O_CREAT, 02775));
    t.call(stem + "dir", ::mkdir(named("dir").c_str(), 0777));
    t.call(stem + "fifo", ::mkfifo(named("fifo").c_str(), 0666));
    t.call(stem + "link", ::symlink("x", named("link").c_str()));
    t.call(stem + "device", ::mknod(named("device").c_str(), S_IFCHR | 0666, 0));
    t.call(stem + "nameless", ::open(directory.c_str(), O_WRONLY | O_TMPFILE, 0666));
  }
}

int make_directory(const char* name, uid_t uid, gid_t gid, mode_t mode) {
  return ::mkdir(name, 0700) | ::chown(name, uid, gid) | ::chmod(name, mode);
}

void creation(Transcript& t) {
  EXPECT_EQ(make_directory("open", 0, 0, 0777), 0);
  EXPECT_EQ(make_directory("sticky", 0, 0, 01777), 0);
  EXPECT_EQ(make_directory("setgid", 0, 2000, 02777), 0);
  EXPECT_EQ(make_directory("group", 0, 2000, 0770), 0);
  EXPECT_EQ(make_directory("group-setgid", 1001, 2001, 02775), 0);
  EXPECT_EQ(make_directory("private", 1001, 1001, 0700), 0);
  EXPECT_EQ(make_directory("acl", 0, 0, 0777), 0);
  const std::string acl = encode_acl({{AclEntry::kUserObj, 7},
                                      {AclEntry::kUser, 7, 1002},
                                      {AclEntry::kGroupObj, 5},
                                      {AclEntry::kMask, 7},
                                      {AclEntry::kOther, 1}});
  EXPECT_EQ(::setxattr("acl", kDefaultAcl, acl.data(), acl.size(), 0), 0);
  for (const char* directory :
       {"open", "sticky", "setgid", "group", "group-setgid", "private", "acl"}) {
    for (const Identity& who : kIdentities) {
      as(who, t, [&](Transcript& own) { make_everything(own, directory, who); });
    }
  }
}

void try_everything(Transcript& t, const std::string& directory, const Identity& who) {
  const std::string name = directory + "/f";
  const char* f = name.c_str();
  t.call("read " + name, ::open(f, O_RDONLY));
  t.call("write " + name, ::open(f, O_WRONLY));
  t.call("create " + name, ::open(f, O_RDWR | O_CREAT, 0600));
  t.call("chmod " + name, ::chmod(f, 0640));
  t.call("chgrp " + name, ::chown(f, -1U, 2001));
  t.call("chgrp back " + name, ::chown(f, -1U, 2000));
  t.call("utimes " + name, ::utimensat(AT_FDCWD, f, nullptr, 0));
  t.call("xattr " + name, ::setxattr(f, "user.a", "v", 1, 0));
  t.call("trusted " + name, ::setxattr(f, "trusted.a", "v", 1, 0));
  t.call("sees trusted " + name, ::getxattr(f, "trusted.a", nullptr, 0));
  t.value("lists " + name, ::listxattr(f, nullptr, 0));
  t.call("link " + name, ::link(f, (name + who.name).c_str()));
  const std::string g = directory + "/g";
  t.call("rename " + g, ::rename(g.c_str(), (g + "2").c_str()));
  t.call("rename back " + g, ::rename((g + "2").c_str(), g.c_str()));
}

// Whose files one may change, remove and look at.
void permission(Transcript& t) {
  EXPECT_EQ(make_directory("sticky", 0, 0, 01777), 0);
  EXPECT_EQ(make_directory("open", 0, 0, 0777), 0);
  for (const char* name : {"sticky/f", "sticky/g", "open/f", "open/g"}) {
    make_file(name, "text");
    EXPECT_EQ(::chown(name, 1001, 2000), 0);
    EXPECT_EQ(::chmod(name, 0640), 0);
  }
  for (const Identity& who : kIdentities) {
    for (const char* directory : {"sticky", "open"}) {
      as(who, t, [&](Transcript& own) { try_everything(own, directory, who); });
    }
  }
  for (const Identity& who : kIdentities) {
    as(who, t, [](Transcript& own) {
      own.call("unlink in sticky", ::unlink("sticky/g"));
      own.call("unlink in open", ::unlink("open/g"));
    });
  }
}

class IdentityTest : public ::testing::TestWithParam<std::tuple<Mode, const char*>> {};

TEST_P(IdentityTest, EqualsNative) {
  const auto& [mode, option] = GetParam();
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = mode.options(std::string("allow_other,dev,suid") + option)});
  compare_with_native(mounted, {{"creation", creation}, {"permission", permission}});
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , IdentityTest,
    ::testing::Values(
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 1}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 1}, ",writeback"),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kKernel, Metadata::kInline, 2}, ""),
        std::tuple(Mode{Who::kRoot, Backing::kKernel, Metadata::kNested, 1}, ",idmap"),
        // Few requests say who asks then.
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2}, ",idmap"),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1}, ",idmap"),
        std::tuple(Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 2}, ",cache=never")),
    [](const auto& instance) {
      const std::string option = std::get<1>(instance.param);
      return std::get<0>(instance.param).name() + (option.empty()           ? ""
                                                   : option == ",idmap"     ? "Idmap"
                                                   : option == ",writeback" ? "WriteBack"
                                                                            : "CacheNever");
    });

// What a request does not say of its caller, so that it is looked up.
void looked_up(Transcript& t) {
  for (const char* name : {"of-root", "of-group"}) {
    make_file(name, "text");
    EXPECT_EQ(::chown(name, 1001, 2001), 0);
  }
  EXPECT_EQ(::chmod(".", 0777), 0);
  EXPECT_EQ(::chmod("of-root", 06777), 0);
  EXPECT_EQ(::chmod("of-group", 02666), 0);  // SGID without group execution
  for (const Identity& who : kIdentities) {
    as(who, t, [](Transcript& own) {
      for (const char* name : {"of-root", "of-group"}) {
        const loop::UniqueFd fd(::open(name, O_WRONLY | O_CLOEXEC));
        own.call(std::string("allocates ") + name, ::fallocate(fd.get(), 0, 0, 10));
        own.call(std::string("writes ") + name, ::write(fd.get(), "T", 1));
        own.stat(name);
      }
      own.call("trusted", ::setxattr("of-group", "trusted.a", "v", 1, 0));
      own.value("lists", ::listxattr("of-group", nullptr, 0));
    });
    EXPECT_EQ(::chmod("of-root", 06777), 0);
    EXPECT_EQ(::chmod("of-group", 02666), 0);
  }
}

// And found where /proc hides callers from the daemon. (Of hidepid, who has the group is exempt: by
// default root's.)
TEST(HiddenTasks, AreTreatedAsNatively) {
  OURO_REQUIRE(has_root());
  ASSERT_EQ(::mount("proc", "/proc", "proc", 0, "hidepid=2,gid=4242"), 0);
  {
    const Mode mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
    Mounted mounted({.options = mode.options("allow_other,dev,suid")});
    compare_with_native(mounted, {{"looked-up", looked_up}});
    for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
      ADD_FAILURE() << complaint;
    }
  }
  EXPECT_EQ(::umount("/proc"), 0);
}

}  // namespace
}  // namespace ouro::testing
