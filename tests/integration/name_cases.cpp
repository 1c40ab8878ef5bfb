#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

constexpr long kFchmodat2 = 452;  // Linux 6.6; glibc 2.36 does not name it

void lookup(Transcript& t) {
  t.stat("a");
  t.stat("a");  // again: what is missing may be remembered, but not beyond a creation
  make_file("a");
  t.stat("a");
  t.call("unlink", ::unlink("a"));
  t.stat("a");
  t.stat("a/b");
  t.stat("./../lookup/.");
  t.call("empty name", ::access("", F_OK));
}

void directories(Transcript& t) {
  t.call("mkdir", ::mkdir("d", 0755));
  t.call("mkdir again", ::mkdir("d", 0755));
  t.call("mkdir in nothing", ::mkdir("x/y", 0755));
  t.call("mkdir below", ::mkdir("d/e", 02775));
  t.stat("d/e");
  t.call("rmdir full", ::rmdir("d"));
  make_file("f");
  t.call("rmdir file", ::rmdir("f"));
  t.call("mkdir in file", ::mkdir("f/g", 0755));
  t.call("unlink directory", ::unlink("d"));
  t.call("rmdir dot", ::rmdir("d/e/."));
  t.call("rmdir dotdot", ::rmdir("d/e/.."));
  t.call("rmdir below", ::rmdir("d/e"));
  t.call("rmdir", ::rmdir("d"));
  t.call("rmdir again", ::rmdir("d"));
}

void symlinks(Transcript& t) {
  make_file("target", "text");
  t.call("symlink", ::symlink("target", "l"));
  t.call("symlink again", ::symlink("target", "l"));
  t.stat("l");
  t.content("l");
  t.call("dangling", ::symlink("nowhere", "m"));
  t.call("open dangling", ::open("m", O_RDONLY));
  t.call("open loop", ::symlink("n", "n") + ::open("n", O_RDONLY));
  t.call("nofollow", ::open("l", O_RDONLY | O_NOFOLLOW));
  t.call("long target", ::symlink(std::string(1000, 'x').c_str(), "long"));
  t.call("too long", ::symlink(std::string(4096, 'x').c_str(), "longer"));
  char text[2000];
  t.value("readlink", ::readlink("long", text, sizeof text));
  t.value("readlink short", ::readlink("long", text, 10));
  t.call("readlink file", ::readlink("target", text, sizeof text) < 0 ? -1 : 0);
  t.call("odd target", ::symlink("\xff \n\\", "odd"));
  t.call("lchown", ::lchown("l", ::getuid(), ::getgid()));
  t.call("chmod symlink",
         static_cast<int>(::syscall(kFchmodat2, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW)));
  t.content("target");
}

void hard_links(Transcript& t) {
  make_file("a", "one");
  t.call("link", ::link("a", "b"));
  t.stat("a");  // counted at once, under both names
  t.stat("b");
  EXPECT_EQ(inode_of("a"), inode_of("b"));
  append_to("b", "two");
  t.content("a");
  t.call("link again", ::link("a", "b"));
  ::mkdir("d", 0755);
  t.call("link directory", ::link("d", "e"));
  t.call("link in nothing", ::link("a", "x/y"));
  t.call("link nothing", ::link("x", "y"));
  ::symlink("a", "s");
  t.call("link symlink", ::linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
  t.call("link behind symlink", ::linkat(AT_FDCWD, "s", AT_FDCWD, "a2", AT_SYMLINK_FOLLOW));
  t.stat("s2");
  t.stat("a2");
  t.call("unlink", ::unlink("a"));
  t.stat("b");
  t.call("unlink missing", ::unlink("a"));
}

void rename_plain(Transcript& t) {
  make_file("a", "aaa");
  t.call("rename", ::rename("a", "b"));
  t.stat("a");
  t.content("b");
  make_file("c", "c");
  const int victim = ::open("c", O_RDONLY);
  t.call("rename over", ::rename("b", "c"));
  t.fstat("victim", victim);
  ::close(victim);
  t.content("c");
  t.call("rename onto itself", ::rename("c", "c"));
  ::link("c", "c2");
  t.call("rename onto a link of itself", ::rename("c", "c2"));
  t.stat("c");
  ::mkdir("d", 0755);
  ::mkdir("e", 0755);
  make_file("e/f");
  t.call("file over directory", ::rename("c", "d"));
  t.call("directory over file", ::rename("d", "c"));
  t.call("directory over full one", ::rename("d", "e"));
  t.call("directory over empty one", ::rename("e", "d"));
  t.stat("d/f");
  t.call("directory into itself", ::rename("d", "d/g"));
  t.call("missing", ::rename("x", "y"));
  t.call("into missing", ::rename("c", "x/y"));
  t.call("dot", ::rename("d/.", "z"));
  t.call("across", ::rename("d/f", "f"));
  t.stat("f");
}

void rename_flags(Transcript& t) {
  const auto rename2 = [&](const char* from, const char* to, unsigned flags) {
    return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
  };
  make_file("a", "a");
  make_file("b", "bb");
  ::mkdir("d", 0755);
  t.call("noreplace taken", rename2("a", "b", RENAME_NOREPLACE));
  t.call("noreplace free", rename2("a", "c", RENAME_NOREPLACE));
  t.call("exchange", rename2("b", "c", RENAME_EXCHANGE));
  t.content("b");
  t.content("c");
  t.call("exchange with directory", rename2("b", "d", RENAME_EXCHANGE));
  t.stat("b");
  t.stat("d");
  t.call("exchange missing", rename2("c", "x", RENAME_EXCHANGE));
  t.call("both", rename2("c", "y", RENAME_EXCHANGE | RENAME_NOREPLACE));
  t.call("unknown", rename2("c", "y", 1U << 30U));
  t.call("whiteout", rename2("c", "w", RENAME_WHITEOUT));
  t.stat("c");
  t.stat("w");
}

void odd_names(Transcript& t) {
  const std::string longest(255, 'n');
  t.call("255", ::mkdir(longest.c_str(), 0755));
  t.call("256", ::mkdir((longest + "n").c_str(), 0755));
  t.stat(longest);
  for (const char* name : {"\n", "\xff\xfe", " ", "a b", "\\", "...", "\x01", "*?[", "-rf"}) {
    t.call(std::string("make ") + name, ::mkdir(name, 0755));
    t.stat(name);
  }
  std::string deep = "deep";
  for (int i = 0; i < 40; ++i) {
    ::mkdir(deep.c_str(), 0755);
    deep += "/" + std::string(20, 'd');
  }
  t.call("deep", ::mkdir(deep.c_str(), 0755));
  make_file(deep + "/file", "down here");
  t.content(deep + "/file");
}

void open_flags(Transcript& t) {
  t.call("open missing", ::open("a", O_RDWR));
  t.call("create", ::open("a", O_RDWR | O_CREAT, 0640));
  t.stat("a");
  t.call("exclusive", ::open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
  append_to("a", "text");
  t.call("truncate", ::open("a", O_WRONLY | O_TRUNC));
  t.stat("a");
  t.call("file as directory", ::open("a", O_RDONLY | O_DIRECTORY));
  t.call("below a file", ::open("a/b", O_RDONLY | O_CREAT, 0600));
  ::mkdir("d", 0755);
  t.call("write directory", ::open("d", O_WRONLY));
  t.call("create over directory", ::open("d", O_RDONLY | O_CREAT, 0600));
  t.call("path only", ::open("d", O_PATH));
  const int read_only = ::open("a", O_RDONLY);
  t.call("write to a reader", ::write(read_only, "x", 1) < 0 ? -1 : 0);
  const int write_only = ::open("a", O_WRONLY);
  char byte = 0;
  t.call("read from a writer", ::read(write_only, &byte, 1) < 0 ? -1 : 0);
  t.call("umask", ::open("m", O_WRONLY | O_CREAT, 0666));
  t.stat("m");
  t.call("synchronous", ::open("s", O_WRONLY | O_CREAT | O_SYNC, 0644));
  t.call("no access time", ::open("a", O_RDONLY | O_NOATIME));
}

void permissions(Transcript& t) {
  make_file("secret", "text");
  ::chmod("secret", 0);
  t.call("open secret", ::open("secret", O_RDONLY));
  t.call("create unreadable", ::open("u", O_RDWR | O_CREAT, 0));
  ::mkdir("shut", 0755);
  make_file("shut/f");
  ::chmod("shut", 0555);
  t.call("create in shut", ::open("shut/g", O_WRONLY | O_CREAT, 0600));
  t.call("unlink in shut", ::unlink("shut/f"));
  ::chmod("shut", 0666);
  t.call("look into shut", ::access("shut/f", F_OK));
  ::chmod("shut", 0755);
  t.call("chown away", ::chown("secret", 12345, 12345));
  t.stat("secret");
}

}  // namespace

std::vector<Case> name_cases() {
  return {{"lookup", lookup},         {"directories", directories}, {"symlinks", symlinks},
          {"hard-links", hard_links}, {"rename", rename_plain},     {"rename-flags", rename_flags},
          {"odd-names", odd_names},   {"open-flags", open_flags},   {"permissions", permissions}};
}

}  // namespace ouro::testing
