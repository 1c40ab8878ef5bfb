#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/file_tools.hpp"

namespace ouro::testing {
namespace {

std::string text(const timespec& time) {
  return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
}

void note_times(Transcript& t, const std::string& what, const char* path) {
  struct ::stat found {};
  ASSERT_EQ(::lstat(path, &found), 0) << path;
  t.note(what, text(found.st_atim) + " " + text(found.st_mtim));
}

bool is_later(const timespec& later, const timespec& earlier) {
  return later.tv_sec != earlier.tv_sec ? later.tv_sec > earlier.tv_sec
                                        : later.tv_nsec > earlier.tv_nsec;
}

void modes(Transcript& t) {
  make_file("f");
  ::mkdir("d", 0755);
  for (const mode_t mode : {0U, 0400U, 0644U, 04755U, 02755U, 06777U, 01777U, 07777U}) {
    t.call("chmod", ::chmod("f", mode));
    t.stat("f");
    t.call("chmod directory", ::chmod("d", mode));
    t.stat("d");
  }
  t.call("chmod missing", ::chmod("x", 0600));
  const int fd = ::open("f", O_RDONLY);
  t.call("fchmod", ::fchmod(fd, 0600));
  t.stat("f");
}

void owners(Transcript& t) {
  make_file("f");
  ::chmod("f", 06755);
  t.call("nobody's business", ::chown("f", static_cast<uid_t>(-1), static_cast<gid_t>(-1)));
  t.stat("f");
  t.call("to others", ::chown("f", 1001, 1002));
  t.stat("f");
  t.call("group only", ::chown("f", static_cast<uid_t>(-1), 1003));
  t.stat("f");
  t.call("own group", ::chown("f", static_cast<uid_t>(-1), ::getgid()));
  t.stat("f");
  const int fd = ::open("f", O_RDONLY);
  t.call("fchown", ::fchown(fd, 1001, 1001));
  ::symlink("f", "l");
  t.call("lchown", ::lchown("l", 1004, 1004));
  t.stat("l");
  t.stat("f");
}

void times(Transcript& t) {
  make_file("f");
  ::symlink("f", "l");
  const auto set = [&](const char* path, timespec access, timespec change, int flags = 0) {
    const timespec both[2] = {access, change};
    t.call("utimensat", ::utimensat(AT_FDCWD, path, both, flags));
    note_times(t, "times", path);
  };
  set("f", {1'000'000'000, 123'456'789}, {1'500'000'000, 987'654'321});
  set("f", {0, 0}, {0, 1});
  set("f", {-1000, 5}, {4'000'000'000, 999'999'999});
  set("f", {0, UTIME_OMIT}, {7, 7});
  set("f", {8, 8}, {0, UTIME_OMIT});
  set("f", {0, UTIME_OMIT}, {0, UTIME_OMIT});
  set("f", {0, 1'000'000'000}, {0, 0});
  set("l", {11, 12}, {13, 14}, AT_SYMLINK_NOFOLLOW);
  note_times(t, "the target's", "f");
  timespec before{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  t.call("now", ::utimensat(AT_FDCWD, "f", nullptr, 0));
  struct ::stat found {};
  ASSERT_EQ(::stat("f", &found), 0);
  EXPECT_FALSE(is_later(before, found.st_mtim)) << "now is in the past";
  const int fd = ::open("f", O_RDWR);
  const timespec both[2] = {{21, 22}, {23, 24}};
  t.call("futimens", ::futimens(fd, both));
  note_times(t, "times", "f");
}

// Times of now move on when something happens, and only then.
void changes(Transcript& t) {
  make_file("f", "text");
  struct ::stat before {};
  struct ::stat after {};
  const auto happens = [&](const char* what, const auto& act) {
    ASSERT_EQ(::stat("f", &before), 0);
    ::usleep(15'000);  // beyond a tick of the coarse clock
    act();
    ASSERT_EQ(::stat("f", &after), 0);
    t.note(what, std::string("mtime ") +
                     (is_later(after.st_mtim, before.st_mtim) ? "moves" : "stays") + ", ctime " +
                     (is_later(after.st_ctim, before.st_ctim) ? "moves" : "stays"));
  };
  happens("write", [] { append_to("f", "more"); });
  happens("chmod", [] { ::chmod("f", 0600); });
  happens("link", [] { ::link("f", "g"); });
  happens("rename", [] { ::rename("g", "h"); });
  happens("unlink", [] { ::unlink("h"); });
  happens("truncate", [] { EXPECT_EQ(::truncate("f", 2), 0); });
  happens("open", [] { ::close(::open("f", O_RDWR)); });
  happens("truncate by open", [] { ::close(::open("f", O_RDWR | O_TRUNC)); });
}

void sizes(Transcript& t) {
  make_file("f", "0123456789");
  for (const off_t size : {off_t{4}, off_t{10}, off_t{5000}, off_t{0}, off_t{1} << 33}) {
    t.call("truncate", ::truncate("f", size));
    t.stat("f");
    const int fd = ::open("f", O_RDONLY);
    char bytes[8];
    t.value("start", ::pread(fd, bytes, sizeof bytes, 2));
    ::close(fd);
  }
  t.call("shrink", ::truncate("f", 5000));
  t.content("f");
  t.call("negative", ::truncate("f", -1));
  t.call("missing", ::truncate("x", 0));
  t.call("directory", ::truncate(".", 0));
  const int reader = ::open("f", O_RDONLY);
  t.call("by a reader", ::ftruncate(reader, 0));
  const int writer = ::open("f", O_WRONLY);
  t.call("by a writer", ::ftruncate(writer, 3));
  t.stat("f");
  constexpr off_t kMost = std::numeric_limits<off_t>::max();
  t.call("too large", ::ftruncate(writer, kMost));
  t.value("read at the end of all offsets", ::pread(::open("f", O_RDONLY), &t, 0, kMost));
}

void extended_stat(Transcript& t) {
  make_file("f", "text");
  struct ::statx found {};
  t.call("statx", ::statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &found));
  t.value("mask", static_cast<int>(found.stx_mask & (STATX_BASIC_STATS | STATX_BTIME)));
  EXPECT_LE(found.stx_btime.tv_sec, found.stx_ctime.tv_sec);
  if ((found.stx_mask & STATX_BTIME) != 0) {
    EXPECT_GT(found.stx_btime.tv_sec, 1'600'000'000);
  }
  t.call("forced", ::statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_ALL & ~0x1000U, &found));
  t.value("size", static_cast<int>(found.stx_size));
  t.call("lazy", ::statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_SIZE, &found));
  t.call("descriptor", ::statx(::open("f", O_PATH), "", AT_EMPTY_PATH, STATX_SIZE, &found));
}

void file_system(Transcript& t) {
  make_file("f");
  struct ::statvfs found {};
  t.call("statvfs", ::statvfs("f", &found));
  t.note("blocks", std::to_string(found.f_bsize) + " " + std::to_string(found.f_frsize) + " " +
                       std::to_string(found.f_blocks));
  t.note("longest name", std::to_string(found.f_namemax));
  EXPECT_GE(found.f_bfree, found.f_bavail);
  t.call("missing", ::statvfs("x", &found));
}

void syncing(Transcript& t) {
  make_file("f", "text");
  const int fd = ::open("f", O_RDWR);
  t.call("fsync", ::fsync(fd));
  t.call("fdatasync", ::fdatasync(fd));
  t.call("range", ::sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE));
  t.call("by a reader", ::fsync(::open("f", O_RDONLY)));
  const int directory = ::open(".", O_RDONLY | O_DIRECTORY);
  t.call("directory", ::fsync(directory));
  t.call("directory's data", ::fdatasync(directory));
  t.call("file system", ::syncfs(directory));
}

}  // namespace

std::vector<Case> attribute_cases() {
  return {{"modes", modes},
          {"owners", owners},
          {"times", times},
          {"changes", changes},
          {"sizes", sizes},
          {"extended-stat", extended_stat},
          {"file-system", file_system},
          {"syncing", syncing}};
}

}  // namespace ouro::testing
