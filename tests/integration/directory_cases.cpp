#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

using Stream = std::unique_ptr<DIR, int (*)(DIR*)>;

Stream open_directory(const char* path) {
  Stream stream(::opendir(path), &::closedir);
  EXPECT_NE(stream, nullptr) << path;
  return stream;
}

std::multiset<std::string> names_of(DIR* stream) {
  std::multiset<std::string> names;
  while (const dirent* entry = ::readdir(stream)) names.insert(entry->d_name);
  return names;
}

void contents(Transcript& t) {
  make_file("file");
  ::mkdir("directory", 0755);
  ::symlink("file", "symlink");
  ::mkfifo("fifo", 0644);
  ::link("file", "link");
  const Stream stream = open_directory(".");
  std::map<std::string, std::string> found;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    found[name] = "type " + std::to_string(entry->d_type);
    if (name != ".." && name != ".") {
      EXPECT_EQ(entry->d_ino, inode_of(name)) << name;
    }
  }
  for (const auto& [name, facts] : found) t.note(name, facts);
}

void many(Transcript& t) {
  constexpr int kFiles = 3'000;
  // Mostly links: to make inodes is slow on some file systems.
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = "a-file-whose-name-is-of-some-length-" + std::to_string(i);
    const std::string first = "a-file-whose-name-is-of-some-length-" + std::to_string(i / 50 * 50);
    ASSERT_EQ(name == first ? ::mknod(name.c_str(), S_IFREG | 0644, 0)
                            : ::link(first.c_str(), name.c_str()),
              0);
  }
  const Stream stream = open_directory(".");
  const auto names = names_of(stream.get());
  t.value("entries", static_cast<int>(names.size()));
  t.value("different ones", static_cast<int>(std::set(names.begin(), names.end()).size()));
  EXPECT_EQ(names.size(), kFiles + 2U);
  // Removing while listing, as rm -r does.
  ::rewinddir(stream.get());
  int removed = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_name[0] == 'a') removed += ::unlink(entry->d_name) == 0 ? 1 : 0;
  }
  t.value("removed while listing", removed);
  ::rewinddir(stream.get());
  t.value("left", static_cast<int>(names_of(stream.get()).size()));
}

// A position that telldir() gave leads back to the same entry, in any order.
void positions(Transcript& t) {
  constexpr std::size_t kFiles = 100;
  for (std::size_t i = 0; i < kFiles; ++i) make_file("file-" + std::to_string(i));
  const Stream stream = open_directory(".");
  std::vector<std::pair<long, std::string>> places;
  for (;;) {
    const long place = ::telldir(stream.get());
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    places.emplace_back(place, entry->d_name);
  }
  t.value("entries", static_cast<int>(places.size()));
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto& [place, name] = places[i * 7919 % places.size()];
    ::seekdir(stream.get(), place);
    const dirent* entry = ::readdir(stream.get());
    ASSERT_NE(entry, nullptr) << "at the place of " << name;
    ASSERT_EQ(entry->d_name, name);
  }
  // Still true when others are gone.
  for (std::size_t i = 0; i < kFiles; i += 2) ::unlink(("file-" + std::to_string(i)).c_str());
  for (const auto& [place, name] : places) {
    if (::access(name.c_str(), F_OK) != 0) continue;
    ::seekdir(stream.get(), place);
    const dirent* entry = ::readdir(stream.get());
    ASSERT_NE(entry, nullptr) << "at the place of " << name;
    ASSERT_EQ(entry->d_name, name);
  }
}

void news(Transcript& t) {
  make_file("old");
  const Stream stream = open_directory(".");
  t.value("before", static_cast<int>(names_of(stream.get()).size()));
  make_file("new");
  ::unlink("old");
  ::rewinddir(stream.get());
  for (const std::string& name : names_of(stream.get())) t.note("after", name);
}

// The raw call, with rooms of all sizes.
void small_rooms(Transcript& t) {
  for (int i = 0; i < 20; ++i) make_file(std::string(static_cast<std::size_t>(10 * i + 1), 'n'));
  std::array<char, 4096> room{};
  for (const std::size_t bytes : {1U, 24U, 300U, 4096U}) {
    const int fd = ::open(".", O_RDONLY | O_DIRECTORY);
    std::size_t calls = 0;
    long got = 0;
    do {
      got = ::syscall(SYS_getdents64, fd, room.data(), bytes);
      ++calls;
    } while (got > 0 && calls < 100);
    t.call("with room for " + std::to_string(bytes), got);
    ::close(fd);
  }
  t.call("of a file", ::syscall(SYS_getdents64, ::open("n", O_RDONLY), room.data(), room.size()));
}

void unreadable(Transcript& t) {
  ::mkdir("d", 0311);
  make_file("d/f");
  t.call("open", ::open("d", O_RDONLY | O_DIRECTORY));
  t.stat("d/f");
  ::mkdir("e", 0444);
  t.call("open without x", ::open("e", O_RDONLY | O_DIRECTORY));
  t.stat("e/f");
  ::chmod("d", 0755);
  ::chmod("e", 0755);
}

}  // namespace

std::vector<Case> directory_cases() {
  return {{"contents", contents},       {"many", many},
          {"positions", positions},     {"news", news},
          {"small-rooms", small_rooms}, {"unreadable", unreadable}};
}

}  // namespace ouro::testing
