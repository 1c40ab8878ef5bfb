// What a caller may use up natively he may use up through the mount, and no more: reserved blocks,
// quotas, inodes, and files that are protected by their flags.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/identity.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::filesystem::path;

constexpr std::uintmax_t kMiB = std::uintmax_t{1} << 20;
constexpr std::uintmax_t kBlock = 4096;

const Identity kRoot{"root", 0, 0};
const Identity kAnn{"ann", 1001, 1001};

// The file system that a test is about, made for it and with everything in it open to all.
std::unique_ptr<LoopImage> make_image(const std::string& type, std::uintmax_t bytes,
                                      const std::vector<std::string>& options) {
  auto made = LoopImage::create(type, bytes, options);
  const auto* missing = std::get_if<LoopImage::Missing>(&made);
  EXPECT_EQ(missing, nullptr) << missing->reason;
  return missing != nullptr ? nullptr : std::get<std::unique_ptr<LoopImage>>(std::move(made));
}

path make_open_directory(const path& directory) {
  std::filesystem::create_directory(directory);
  std::filesystem::permissions(directory, std::filesystem::perms::all);
  return directory;
}

// What a file took in until it could take no more.
struct Filling {
  std::uintmax_t written_bytes = 0;
  std::uintmax_t stored_bytes = 0;  // on the disk in the end
  std::string error;                // of write(), or of fsync() where that came first
};

std::string write_until_error(int fd, std::uintmax_t limit, std::uintmax_t& written_bytes) {
  constexpr std::size_t kChunk = 65'536;
  static char* const memory = static_cast<char*>(std::aligned_alloc(kBlock, kChunk));
  std::fill_n(memory, kChunk, 'x');
  for (const std::size_t chunk : {kChunk, std::size_t{kBlock}}) {
    for (ssize_t got = 0; written_bytes < limit;
         written_bytes += static_cast<std::uintmax_t>(got)) {
      got = ::write(fd, memory, chunk);
      if (got < 0) break;
    }
  }
  return written_bytes < limit ? Transcript::error_name(errno) : "none";
}

// Writes into a new file as somebody, to the end or up to `limit`. `real` is the file natively.
Filling fill(const Identity& who, const path& file, const path& real, int flags,
             std::uintmax_t limit) {
  const auto lines = lines_of(who, [&]() -> std::vector<std::string> {
    const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0644));
    if (!fd) return {"0", Transcript::error_name(errno)};
    std::uintmax_t written_bytes = 0;
    std::string error = write_until_error(fd.get(), limit, written_bytes);
    if (::fsync(fd.get()) != 0 && error == "none") error = Transcript::error_name(errno);
    return {std::to_string(written_bytes), error};
  });
  struct ::stat found {};
  EXPECT_EQ(::stat(real.c_str(), &found), 0) << real;
  if (lines.size() != 2) return {};
  return {std::stoull(lines[0]), static_cast<std::uintmax_t>(found.st_blocks) * 512, lines[1]};
}

// One after the other in the same file system, which is as empty before each of them.
struct Place {
  path seen;
  path real;
};

struct Fillings {
  Filling user;
  Filling root;
};

// Of one file system: others may be busy.
void sync_disk_of(const path& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(::syncfs(fd.get()), 0) << directory;
}

std::uintmax_t free_blocks(const path& directory) {
  struct ::statvfs space {};
  EXPECT_EQ(::statvfs(directory.c_str(), &space), 0);
  return space.f_bfree;
}

// What was removed is free when the daemon has let go of it and the journal says so.
void remove_files(const Place& place, std::uintmax_t free_before) {
  for (const char* name : {"user", "root"}) std::filesystem::remove(place.seen / name);
  EXPECT_TRUE(eventually([&] {
    sync_disk_of(place.real);
    return free_blocks(place.real) >= free_before;
  })) << free_blocks(place.real)
      << " of " << free_before << " blocks are free again";
}

Fillings fill_up(const Place& place, int flags, std::uintmax_t limit) {
  const std::uintmax_t free_before = free_blocks(place.real);
  Fillings fillings;
  fillings.user = fill(kAnn, place.seen / "user", place.real / "user", flags, limit);
  fillings.root = fill(kRoot, place.seen / "root", place.real / "root", flags, limit);
  remove_files(place, free_before);
  return fillings;
}

void expect_near(std::uintmax_t native, std::uintmax_t mount, const std::string& what) {
  EXPECT_LE(std::max(native, mount) - std::min(native, mount), kBlock)
      << what << "\n  native: " << native << "\n  mount:  " << mount;
}

void expect_same(const Filling& native, const Filling& mount, const std::string& who) {
  EXPECT_EQ(native.error, mount.error) << who;
  expect_near(native.written_bytes, mount.written_bytes, "written by " + who);
  expect_near(native.stored_bytes, mount.stored_bytes, "stored for " + who);
}

struct Variant {
  Mode mode;
  const char* name;
  const char* options;
};

std::string name_of(const ::testing::TestParamInfo<Variant>& instance) {
  return instance.param.mode.name() + instance.param.name;
}

class Reserve : public ::testing::TestWithParam<Variant> {};

TEST_P(Reserve, IsForRootOnly) {
  OURO_REQUIRE(has_root());
  const Variant& variant = GetParam();
  const auto image = make_image("ext4", 64 * kMiB, {"-m", "20"});
  ASSERT_NE(image, nullptr);
  Mounted mounted({.options = variant.mode.options(std::string("allow_other") + variant.options),
                   .source = make_open_directory(image->path() / "source")});
  const Place native{make_open_directory(mounted.native() / "n"), mounted.native() / "n"};
  make_open_directory(mounted.source() / "m");
  const Place mount{mounted.path() / "m", mounted.source() / "m"};
  for (const int flags : {0, O_DIRECT}) {
    SCOPED_TRACE(flags == 0 ? "cached" : "direct");
    const Fillings expected = fill_up(native, flags, 64 * kMiB);
    const Fillings found = fill_up(mount, flags, 64 * kMiB);
    EXPECT_EQ(expected.user.error, "ENOSPC");
    EXPECT_GT(expected.root.written_bytes, 10 * kMiB) << "there is a reserve";
    expect_same(expected.user, found.user, "the user");
    expect_same(expected.root, found.root, "root");
  }
  for (const auto& complaint : disprove(variant.mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Reserve,
    ::testing::Values(
        Variant{{Who::kRoot, Backing::kRing, Metadata::kInline, 2}, "", ""},
        Variant{{Who::kRoot, Backing::kRing, Metadata::kNested, 1}, "", ""},
        Variant{{Who::kRoot, Backing::kInline, Metadata::kInline, 1}, "", ""},
        Variant{{Who::kRoot, Backing::kInline, Metadata::kNested, 2}, "", ""},
        Variant{{Who::kRoot, Backing::kKernel, Metadata::kInline, 2}, "", ""},
        Variant{{Who::kRoot, Backing::kRing, Metadata::kInline, 1}, "CacheNever", ",cache=never"},
        Variant{{Who::kRoot, Backing::kRing, Metadata::kInline, 1}, "DirectIo", ",direct_io"}),
    name_of);

// The client takes in what it collects without asking for space; what it then writes back is stored
// for the user nevertheless, and not for the daemon.
TEST(ReserveOfRoot, IsNotForPagesWrittenBackEither) {
  OURO_REQUIRE(has_root());
  const auto image = make_image("ext4", 64 * kMiB, {"-m", "20"});
  ASSERT_NE(image, nullptr);
  for (const Backing backing : {Backing::kRing, Backing::kInline}) {
    const Mode mode{Who::kRoot, backing, Metadata::kInline, 1};
    const path source = make_open_directory(image->path() / mode.name());
    Mounted mounted({.options = mode.options("allow_other,writeback"), .source = source});
    const path native = make_open_directory(mounted.native() / "n");
    const Filling expected = fill(kAnn, native / "f", native / "f", 0, 60 * kMiB);
    std::filesystem::remove(native / "f");
    sync_disk_of(native);
    const Filling found = fill(kAnn, mounted.path() / "f", source / "f", 0, 60 * kMiB);
    EXPECT_EQ(found.error, "ENOSPC") << "is told by fsync()";
    EXPECT_LE(found.stored_bytes, expected.stored_bytes + kBlock);
    EXPECT_GT(found.stored_bytes, expected.stored_bytes - 4 * kMiB);
    std::filesystem::remove(mounted.path() / "f");
    for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
      ADD_FAILURE() << complaint;
    }
  }
}

constexpr int kLongNames = 40;  // more than two blocks of a directory

std::string long_name(int number) {
  constexpr std::size_t kLength = 200;
  const std::string text = std::to_string(number);
  return text + std::string(kLength - text.size(), 'x');
}

// How many of them `act` has done before it failed.
template <typename Act>
int count_done(Act act) {
  int done = 0;
  while (done < kLongNames && act(long_name(done)) == 0) ++done;
  return done;
}

// Uses up what others than root may have, and asks for single blocks beyond it.
void blocks_of_metadata(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0777), 0);
  for (const char* directory : {"links", "old", "new"}) make_open_directory(directory);
  for (const char* file : {"with-attribute", "file"}) {
    make_file(file, "text");
    EXPECT_EQ(::chown(file, kAnn.uid, kAnn.gid), 0);
  }
  const auto link_in = [](const std::string& directory) {
    return count_done(
        [&](const std::string& name) { return ::link("file", (directory + name).c_str()); });
  };
  EXPECT_EQ(link_in("old/"), kLongNames);
  as(kAnn, t, [](Transcript& own) {
    const UniqueFd fd(::open("filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    std::uintmax_t written_bytes = 0;
    EXPECT_EQ(write_until_error(fd.get(), 64 * kMiB, written_bytes), "ENOSPC");
    own.call("stores", ::fsync(fd.get()));
  });
  const std::string value(3000, 'v');
  for (const Identity* who : {&kAnn, &kRoot}) {
    as(*who, t, [&](Transcript& own) {
      own.call("attribute", ::setxattr("with-attribute", "user.a", value.data(), value.size(), 0));
      own.value("links", link_in(std::string("links/") + who->name));
      own.value("renames", count_done([&](const std::string& name) {
                  const std::string renamed = std::string("new/") + who->name + name;
                  return ::rename(("old/" + name).c_str(), renamed.c_str());
                }));
      count_done([&](const std::string& name) {
        const std::string renamed = std::string("new/") + who->name + name;
        return ::rename(renamed.c_str(), ("old/" + name).c_str());
      });
    });
  }
  for (const auto& entry : std::filesystem::directory_iterator(".")) {
    std::filesystem::remove_all(entry.path());
  }
  sync_disk_of(".");
}

const auto kModes =
    ::testing::Values(Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kNested, 1},
                      Mode{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing},
                      Mode{Who::kRoot, Backing::kInline, Metadata::kInline, 1});

class MetadataBlocks : public ::testing::TestWithParam<Mode> {};

// What is written of names and attributes comes out of the same share as data.
TEST_P(MetadataBlocks, AreRefusedWhereTheyAreNatively) {
  OURO_REQUIRE(has_root());
  const Mode& mode = GetParam();
  const auto image = make_image("ext4", 32 * kMiB, {"-m", "20", "-b", "4096"});
  ASSERT_NE(image, nullptr);
  Mounted mounted({.options = mode.options("allow_other"),
                   .source = make_open_directory(image->path() / "source")});
  compare_with_native(mounted, {{"blocks-of-metadata", blocks_of_metadata}});
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, MetadataBlocks, kModes,
                         [](const auto& instance) { return instance.param.name(); });

// A subvolume that may hold 16 MiB.
path make_limited_subvolume(const path& subvolume) {
  const auto run = [](std::vector<std::string> arguments) {
    const Output output = run_command({.arguments = std::move(arguments)});
    EXPECT_EQ(output.exit, kExitOk) << output.text;
  };
  run({"btrfs", "subvolume", "create", subvolume});
  run({"btrfs", "qgroup", "limit", "16M", subvolume});
  std::filesystem::permissions(subvolume, std::filesystem::perms::all);
  return subvolume;
}

class Quota : public ::testing::TestWithParam<Backing> {};

TEST_P(Quota, IsExceededWhereItIsNatively) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(has_program("btrfs"));
  const auto image = make_image("btrfs", 256 * kMiB, {});
  ASSERT_NE(image, nullptr);
  const Output enabled = run_command({.arguments = {"btrfs", "quota", "enable", image->path()}});
  ASSERT_EQ(enabled.exit, kExitOk) << enabled.text;
  const Mode mode{Who::kRoot, GetParam(), Metadata::kInline, 1};
  for (const int flags : {0, O_DIRECT}) {
    SCOPED_TRACE(flags == 0 ? "cached" : "direct");
    const path place = image->path() / std::to_string(flags);
    std::filesystem::create_directory(place);
    const path expected = make_limited_subvolume(place / "native");
    Mounted mounted({.options = mode.options("allow_other"),
                     .source = make_limited_subvolume(place / "source")});
    const Filling native = fill(kAnn, expected / "f", expected / "f", flags, 64 * kMiB);
    const Filling mount =
        fill(kAnn, mounted.path() / "f", mounted.source() / "f", flags, 64 * kMiB);
    EXPECT_EQ(native.error, "EDQUOT");
    expect_same(native, mount, "the user");
    for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
      ADD_FAILURE() << complaint;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Quota,
                         ::testing::Values(Backing::kRing, Backing::kInline, Backing::kKernel),
                         [](const auto& instance) {
                           if (instance.param == Backing::kKernel) return "Kernel";
                           return instance.param == Backing::kRing ? "Ring" : "Inline";
                         });

std::string numbered(int i) {
  return "f" + std::to_string(i);
}

// Makes files until there are no more inodes, and everything else that takes one.
void all_inodes(Transcript& t) {
  struct ::statvfs space {};
  ASSERT_EQ(::statvfs(".", &space), 0);
  int files = 0;
  while (files < 1000 && ::mknod(numbered(files).c_str(), S_IFREG | 0644, 0) == 0) ++files;
  t.value("left", static_cast<long>(space.f_ffree) - files);
  t.call("create", ::open("file", O_WRONLY | O_CREAT, 0644));
  t.call("create exclusively", ::open("file", O_WRONLY | O_CREAT | O_EXCL, 0644));
  t.call("mkdir", ::mkdir("directory", 0755));
  t.call("symlink", ::symlink("x", "symlink"));
  t.call("fifo", ::mkfifo("fifo", 0644));
  t.call("nameless", ::open(".", O_WRONLY | O_TMPFILE, 0644));
  t.call("link takes none", ::link("f0", "link"));
  t.call("nor does rename", ::rename("f1", "renamed"));
  for (const char* name : {"file", "directory", "symlink", "fifo", "renamed"}) t.stat(name);
  t.call("with one more", ::unlink("renamed"));
  t.call("create", ::open("file", O_WRONLY | O_CREAT, 0644));
  t.call("and again", ::open("file2", O_WRONLY | O_CREAT, 0644));
  for (int i = 0; i < files; ++i) ::unlink(numbered(i).c_str());
}

class Inodes : public ::testing::TestWithParam<Metadata> {};

TEST_P(Inodes, AreUsedUpAsNatively) {
  OURO_REQUIRE(has_root());
  const auto image = make_image("ext4", 16 * kMiB, {"-N", "64"});
  ASSERT_NE(image, nullptr);
  const Mode mode{Who::kRoot, Backing::kRing, GetParam(), 1};
  std::filesystem::create_directory(image->path() / "source");
  Mounted mounted({.options = mode.options(), .source = image->path() / "source"});
  compare_with_native(mounted, {{"all-inodes", all_inodes}});
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, Inodes, ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& instance) {
                           return instance.param == Metadata::kInline ? "Inline" : "Nested";
                         });

void try_file(Transcript& t, const std::string& name) {
  const char* f = name.c_str();
  t.call(name + " read", UniqueFd(::open(f, O_RDONLY)).get());
  t.call(name + " write", UniqueFd(::open(f, O_WRONLY)).get());
  t.call(name + " truncating open", UniqueFd(::open(f, O_WRONLY | O_TRUNC)).get());
  t.call(name + " creat", UniqueFd(::open(f, O_WRONLY | O_CREAT, 0644)).get());
  const UniqueFd appending(::open(f, O_WRONLY | O_APPEND));
  t.call(name + " append", appending.get());
  t.value(name + " append", ::write(appending.get(), "1", 1));
  t.call(name + " allocate", ::fallocate(appending.get(), 0, 0, 100));
  t.call(name + " truncate", ::truncate(f, 1));
  t.call(name + " chmod", ::chmod(f, 0644));
  t.call(name + " chown", ::chown(f, 1001, 1001));
  t.call(name + " utimes", ::utimensat(AT_FDCWD, f, nullptr, 0));
  constexpr timespec kThen[] = {{1, 0}, {1, 0}};
  t.call(name + " utimes then", ::utimensat(AT_FDCWD, f, kThen, 0));
  t.call(name + " set xattr", ::setxattr(f, "user.a", "v", 1, 0));
  t.call(name + " link", ::link(f, "link"));
  t.call(name + " rename", ::rename(f, "renamed"));
  t.call(name + " rename onto", ::rename("plain", f));
  t.call(name + " unlink", ::unlink(f));
  t.call(name + " chattr", set_protection(name, 0));
  t.stat(name);
}

void try_directory(Transcript& t, const std::string& name) {
  const std::string inside = name + "/inside";
  const std::string made = name + "/made";
  t.call(name + " create", UniqueFd(::open(made.c_str(), O_WRONLY | O_CREAT, 0644)).get());
  t.call(name + " mkdir", ::mkdir((made + "-directory").c_str(), 0755));
  t.call(name + " symlink", ::symlink("x", (made + "-symlink").c_str()));
  t.call(name + " link", ::link("plain", (made + "-link").c_str()));
  t.call(name + " write", UniqueFd(::open(inside.c_str(), O_WRONLY)).get());
  t.call(name + " unlink", ::unlink(inside.c_str()));
  t.call(name + " rename in", ::rename(inside.c_str(), (inside + "2").c_str()));
  t.call(name + " rename out", ::rename(inside.c_str(), "out"));
  t.call(name + " chmod", ::chmod(name.c_str(), 0777));
  t.call(name + " rmdir", ::rmdir(name.c_str()));
}

struct Protection {
  const char* name;
  int flags;
};
constexpr Protection kProtections[] = {{"immutable", FS_IMMUTABLE_FL},
                                       {"append-only", FS_APPEND_FL}};

void protected_files(Transcript& t) {
  EXPECT_EQ(::chmod(".", 0777), 0);
  for (const Protection& protection : kProtections) {
    const std::string file = protection.name;
    const std::string directory = file + "-directory";
    const std::string inside = directory + "/inside";
    make_file(file, "text");
    EXPECT_EQ(::mkdir(directory.c_str(), 0777), 0);
    make_file(inside, "text");
    for (const std::string& name : {file, directory, inside}) {
      EXPECT_EQ(::chown(name.c_str(), kAnn.uid, kAnn.gid), 0);
    }
    t.call("chattr " + file, set_protection(file, protection.flags));
    t.call("chattr " + directory, set_protection(directory, protection.flags));
    for (const Identity* who : {&kAnn, &kRoot}) {
      make_file("plain");
      EXPECT_EQ(::chown("plain", kAnn.uid, kAnn.gid), 0);
      as(*who, t, [&](Transcript& own) {
        try_file(own, file);
        try_directory(own, directory);
      });
      ::unlink("plain");
    }
    // Or nobody could remove them.
    for (const std::string& name : {file, directory}) static_cast<void>(set_protection(name, 0));
  }
}

class ProtectedFiles : public ::testing::TestWithParam<Mode> {};

TEST_P(ProtectedFiles, AreProtectedAsNatively) {
  OURO_REQUIRE(has_root());
  const auto image = make_image("ext4", 32 * kMiB, {});
  ASSERT_NE(image, nullptr);
  const Mode& mode = GetParam();
  std::filesystem::create_directory(image->path() / "source");
  Mounted mounted({.options = mode.options("allow_other"), .source = image->path() / "source"});
  compare_with_native(mounted, {{"protected-files", protected_files}});
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, ProtectedFiles, kModes,
                         [](const auto& instance) { return instance.param.name(); });

}  // namespace
}  // namespace ouro::testing
