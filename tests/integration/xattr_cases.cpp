#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/integration/acl.hpp"
#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

int set_xattr(const char* path, const char* name, const std::string& value, int flags = 0) {
  return ::lsetxattr(path, name, value.data(), value.size(), flags);
}

void note_xattr(Transcript& t, const char* path, const char* name) {
  std::array<char, 65536> value{};
  const ssize_t bytes = ::lgetxattr(path, name, value.data(), value.size());
  std::string text = std::to_string(bytes) + ":";
  for (ssize_t i = 0; i < bytes; ++i) {
    text += std::to_string(static_cast<unsigned char>(value[static_cast<std::size_t>(i)])) + " ";
  }
  t.note(std::string(path) + " " + name, bytes < 0 ? Transcript::error_name(errno) : text);
}

void user_attributes(Transcript& t) {
  make_file("f");
  t.call("set", set_xattr("f", "user.a", "value"));
  t.call("create taken", set_xattr("f", "user.a", "other", XATTR_CREATE));
  t.call("replace missing", set_xattr("f", "user.b", "other", XATTR_REPLACE));
  t.call("replace", set_xattr("f", "user.a", "longer value", XATTR_REPLACE));
  t.call("empty", set_xattr("f", "user.empty", ""));
  t.call("odd bytes", set_xattr("f", "user.odd", std::string("\0\xff\n", 3)));
  for (const char* name : {"user.a", "user.empty", "user.odd", "user.missing"})
    note_xattr(t, "f", name);
  char small[4];
  t.value("size", ::getxattr("f", "user.a", nullptr, 0));
  t.value("too small", ::getxattr("f", "user.a", small, sizeof small));
  t.value("list size", ::listxattr("f", nullptr, 0) > 0 ? 1 : 0);
  t.value("list too small", ::listxattr("f", small, sizeof small));
  t.call("remove", ::removexattr("f", "user.a"));
  t.call("remove again", ::removexattr("f", "user.a"));
  t.call("no namespace", set_xattr("f", "a", "value"));
  t.call("strange namespace", set_xattr("f", "ouro.a", "value"));
  t.call("empty name", set_xattr("f", "user.", "value"));
  t.call("long name", set_xattr("f", ("user." + std::string(250, 'n')).c_str(), "value"));
  t.call("too long name", set_xattr("f", ("user." + std::string(251, 'n')).c_str(), "value"));
  t.call("large", set_xattr("f", "user.large", std::string(3'000, 'v')));
  t.call("too large", set_xattr("f", "user.larger", std::string(65'537, 'v')));
  t.call("missing file", set_xattr("x", "user.a", "value"));
  const int fd = ::open("f", O_RDWR);
  t.call("by descriptor", ::fsetxattr(fd, "user.fd", "1", 1, 0));
  t.call("removed by descriptor", ::fremovexattr(fd, "user.fd"));
}

void other_kinds(Transcript& t) {
  make_file("f");
  ::symlink("f", "l");
  ::mkdir("d", 0755);
  ::mkfifo("p", 0644);
  t.call("on a directory", set_xattr("d", "user.a", "value"));
  t.call("on a symlink", set_xattr("l", "user.a", "value"));
  t.call("on a fifo", set_xattr("p", "user.a", "value"));
  t.call("trusted", set_xattr("f", "trusted.a", "value"));
  t.call("trusted on a symlink", set_xattr("l", "trusted.a", "value"));
  note_xattr(t, "f", "trusted.a");
  t.call("security", set_xattr("f", "security.ouro", "value"));
  t.call("bad capability", set_xattr("f", "security.capability", "value"));
  std::array<char, 4096> names{};
  t.value("names", ::listxattr("f", names.data(), names.size()));
  t.call("unreadable", ::chmod("f", 0));
  note_xattr(t, "f", "user.a");
}

void many_attributes(Transcript& t) {
  make_file("f");
  for (int i = 0; i < 60; ++i) {
    t.call("set", set_xattr("f", ("user.attribute-" + std::to_string(i)).c_str(), "v"));
  }
  std::array<char, 65536> names{};
  const ssize_t bytes = ::listxattr("f", names.data(), names.size());
  t.value("list", bytes);
  std::set<std::string> found;
  for (ssize_t at = 0; at < bytes; at += static_cast<ssize_t>(found.rbegin()->size()) + 1) {
    found.insert(&names[static_cast<std::size_t>(at)]);
    if (found.size() == 1) break;
  }
  EXPECT_TRUE(found.empty() || found.begin()->starts_with("user.attribute-"));
}

const std::vector<AclEntry> kForUser1001 = {{AclEntry::kUserObj, 7},
                                            {AclEntry::kUser, 6, 1001},
                                            {AclEntry::kGroupObj, 5},
                                            {AclEntry::kMask, 7},
                                            {AclEntry::kOther, 0}};

void access_acl(Transcript& t) {
  make_file("f");
  t.call("set", set_xattr("f", kAccessAcl, encode_acl(kForUser1001)));
  t.stat("f");  // the group's bits show the mask
  note_xattr(t, "f", kAccessAcl);
  t.call("chmod", ::chmod("f", 0640));
  t.stat("f");
  note_xattr(t, "f", kAccessAcl);
  t.call(
      "minimal",
      set_xattr(
          "f", kAccessAcl,
          encode_acl({{AclEntry::kUserObj, 6}, {AclEntry::kGroupObj, 4}, {AclEntry::kOther, 4}})));
  t.stat("f");
  note_xattr(t, "f", kAccessAcl);
  t.call("set again", set_xattr("f", kAccessAcl, encode_acl(kForUser1001)));
  t.call("remove", ::removexattr("f", kAccessAcl));
  t.stat("f");
  note_xattr(t, "f", kAccessAcl);
  t.call("nonsense", set_xattr("f", kAccessAcl, "nonsense"));
  t.call("incomplete", set_xattr("f", kAccessAcl, encode_acl({{AclEntry::kUserObj, 7}})));
  t.call("default on a file", set_xattr("f", kDefaultAcl, encode_acl(kForUser1001)));
}

// What is made in a directory with a default ACL takes it over instead of the umask.
void default_acl(Transcript& t) {
  ::mkdir("d", 0755);
  t.call("set", set_xattr("d", kDefaultAcl, encode_acl(kForUser1001)));
  for (const mode_t mask : {0U, 022U, 077U}) {
    ::umask(mask);
    const std::string suffix = std::to_string(mask);
    const auto made = [&](const std::string& name) {
      t.stat(name);
      note_xattr(t, name.c_str(), kAccessAcl);
      note_xattr(t, name.c_str(), kDefaultAcl);
    };
    const std::string file = "d/file" + suffix;
    t.call("file", ::open(file.c_str(), O_WRONLY | O_CREAT, 0666));
    made(file);
    const std::string strict = "d/strict" + suffix;
    t.call("strict", ::open(strict.c_str(), O_WRONLY | O_CREAT, 0600));
    made(strict);
    const std::string directory = "d/directory" + suffix;
    t.call("directory", ::mkdir(directory.c_str(), 0777));
    made(directory);
    const std::string node = "d/node" + suffix;
    t.call("node", ::mknod(node.c_str(), S_IFIFO | 0666, 0));
    made(node);
    t.call("symlink", ::symlink("x", ("d/symlink" + suffix).c_str()));
    // And where there is none, the umask holds.
    const std::string plain = "plain" + suffix;
    t.call("plain", ::open(plain.c_str(), O_WRONLY | O_CREAT, 0666));
    made(plain);
  }
}

}  // namespace

std::vector<Case> xattr_cases() {
  return {{"user-attributes", user_attributes},
          {"other-kinds", other_kinds},
          {"many-attributes", many_attributes},
          {"access-acl", access_acl},
          {"default-acl", default_acl}};
}

}  // namespace ouro::testing
