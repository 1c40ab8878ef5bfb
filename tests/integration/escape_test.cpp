// Ways out of the source: nothing that somebody does to the source behind the daemon, and nothing
// that a client asks for, may make the daemon touch what lies outside.
//
// OURO_RACE_SWAPS=1000000 in the environment lets the races go on for as many swaps; without it
// they take a second each.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/integration/shared_memory.hpp"
#include "tests/integration/transcript.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::chrono::seconds;
namespace stdfs = std::filesystem;

constexpr gid_t kPlainGid = 65534;

int result_of(long returned) {
  return returned < 0 ? errno : 0;
}

UniqueFd open_at(const stdfs::path& path, int flags) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0666));
}

// A tree outside of the source, of which nothing may change and nothing be opened. The plain user,
// who the clients of these tests are, cannot reach it; so it is the daemon that does if any does.
class Canary {
 public:
  explicit Canary(stdfs::path root) : root_(std::move(root)) {
    stdfs::create_directories(root_ / "dir/sub");
    for (const char* name : {"file", "dir/file", "dir/junk", "dir/sub/file"}) {
      make_file(root_ / name, "canary");
    }
    for (const auto& path : everything()) {
      // The plain user's, where the daemon looks at owners and modes only.
      EXPECT_EQ(::chown(path.c_str(), kPlainUid, kPlainGid) | ::chmod(path.c_str(), 0777), 0);
      EXPECT_EQ(::setxattr(path.c_str(), "user.canary", "sings", 5, 0), 0);
    }
    EXPECT_EQ(::chown(root_.c_str(), 0, 0) | ::chmod(root_.c_str(), 0700), 0);
    watch();
    for (const auto& path : everything()) before_.push_back(facts(path));
  }
  void expect_untouched() const { EXPECT_EQ(complaints(), std::vector<std::string>()); }
  [[nodiscard]] std::vector<std::string> complaints() const {
    std::vector<std::string> all;
    std::array<char, 4096> events;
    if (result_of(::read(events_.get(), events.data(), events.size())) != EAGAIN) {
      all.emplace_back("something was opened or changed outside");
    }
    std::vector<std::string> after;
    for (const auto& path : everything()) after.push_back(facts(path));
    if (after != before_) all.emplace_back("something is not as it was outside");
    return all;
  }
  [[nodiscard]] const stdfs::path& path() const { return root_; }

 private:
  [[nodiscard]] std::vector<stdfs::path> everything() const {
    std::vector<stdfs::path> all{root_};
    for (const auto& entry : stdfs::recursive_directory_iterator(root_)) all.push_back(entry);
    std::ranges::sort(all);
    return all;
  }
  void watch() {
    for (const auto& path : everything()) {
      // Opening is enough; to be looked up by name goes unseen, and does no harm. Of directories
      // everything() itself would be.
      const std::uint32_t changes = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVE;
      const std::uint32_t mask = stdfs::is_directory(path) ? changes : changes | IN_OPEN;
      EXPECT_GE(::inotify_add_watch(events_.get(), path.c_str(), mask), 0);
    }
  }
  // What only lstat() is needed for. Owner, mode, attributes and times all move the ctime.
  static std::string facts(const stdfs::path& path) {
    struct ::stat found {};
    EXPECT_EQ(::lstat(path.c_str(), &found), 0) << path;
    return path.string() + " " + std::to_string(found.st_mode) + " " +
           std::to_string(found.st_uid) + " " + std::to_string(found.st_size) + " " +
           std::to_string(found.st_nlink) + " " + std::to_string(found.st_mtim.tv_sec) + "." +
           std::to_string(found.st_mtim.tv_nsec) + " " + std::to_string(found.st_ctim.tv_sec) +
           "." + std::to_string(found.st_ctim.tv_nsec);
  }

  const stdfs::path root_;
  const UniqueFd events_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  std::vector<std::string> before_;
};

TEST(CanaryTest, NoticesEverything) {
  OURO_REQUIRE(has_root());
  const std::vector<std::function<long(const std::string&)>> touches = {
      [](const std::string& path) -> long { return open_at(path, O_RDONLY) ? 0 : -1; },
      [](const std::string& path) -> long { return open_at(path, O_WRONLY | O_TRUNC) ? 0 : -1; },
      [](const std::string& path) -> long { return ::chmod(path.c_str(), 0600); },
      [](const std::string& path) -> long { return ::chown(path.c_str(), 5, 5); },
      [](const std::string& path) -> long { return ::truncate(path.c_str(), 3); },
      [](const std::string& path) -> long {
        return ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
      },
      [](const std::string& path) -> long { return ::setxattr(path.c_str(), "user.x", "v", 1, 0); },
      [](const std::string& path) -> long { return ::link(path.c_str(), (path + "2").c_str()); },
      [](const std::string& path) -> long { return ::mkdir((path + "2").c_str(), 0700); },
      [](const std::string& path) -> long { return ::unlink(path.c_str()); },
      [](const std::string& path) -> long { return ::rename(path.c_str(), (path + "2").c_str()); }};
  for (std::size_t i = 0; i < touches.size(); ++i) {
    const TempDir home;
    const Canary canary(home / "outside");
    canary.expect_untouched();
    ASSERT_EQ(touches[i](canary.path() / "dir/file"), 0) << i;
    EXPECT_NE(canary.complaints(), std::vector<std::string>()) << i;
  }
}

// --- races ---------------------------------------------------------------------------------------

// How many attempts a client made, and how many came to something.
struct Tries {
  SharedCount made;
  SharedCount succeeded;
  SharedCount led_outside;  // EACCES: the client's own kernel followed the link
};

// The calls that a client makes of `path`, which is a file of his, and sometimes is not.
const std::vector<std::function<long(const char*)>> kCallsOfFiles = {
    [](const char* path) -> long { return open_at(path, O_RDONLY) ? 0 : -1; },
    [](const char* path) -> long {
      const UniqueFd fd = open_at(path, O_WRONLY);
      return fd ? ::write(fd.get(), "attack", 6) : -1;
    },
    [](const char* path) -> long { return open_at(path, O_WRONLY | O_TRUNC) ? 0 : -1; },
    [](const char* path) -> long { return open_at(path, O_WRONLY | O_CREAT) ? 0 : -1; },
    [](const char* path) -> long { return ::truncate(path, 3); },
    [](const char* path) -> long { return ::chmod(path, 0666); },
    [](const char* path) -> long { return ::lchown(path, kPlainUid, kPlainGid); },
    [](const char* path) -> long { return ::chown(path, kPlainUid, kPlainGid); },
    [](const char* path) -> long { return ::utimensat(AT_FDCWD, path, nullptr, 0); },
    [](const char* path) -> long {
      return ::utimensat(AT_FDCWD, path, nullptr, AT_SYMLINK_NOFOLLOW);
    },
    [](const char* path) -> long { return ::setxattr(path, "user.attack", "v", 1, 0); },
    [](const char* path) -> long { return ::lsetxattr(path, "user.attack", "v", 1, 0); },
    [](const char* path) -> long { return ::removexattr(path, "user.attack"); },
    [](const char* path) -> long { return ::link(path, (std::string(path) + "2").c_str()); },
    [](const char* path) -> long { return ::unlink((std::string(path) + "2").c_str()); },
};
// The calls of names in the directory of `path`.
const std::vector<std::function<long(const char*)>> kCallsBelow = {
    [](const char* path) -> long { return ::mkdir((std::string(path) + ".d").c_str(), 0777); },
    [](const char* path) -> long { return ::rmdir((std::string(path) + ".d").c_str()); },
    [](const char* path) -> long { return ::symlink("x", (std::string(path) + ".l").c_str()); },
    [](const char* path) -> long {
      return ::rename((std::string(path) + ".l").c_str(), (std::string(path) + ".m").c_str());
    },
    [](const char* path) -> long { return ::unlink((std::string(path) + ".m").c_str()); },
    [](const char* path) -> long {
      const UniqueFd fd = open_at(stdfs::path(path).parent_path(), O_RDONLY | O_DIRECTORY);
      return fd ? 0 : -1;
    },
};

class Race : public ::testing::TestWithParam<Metadata> {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    const Mode mode{.metadata = GetParam(), .loops = 2};
    // Nothing is cached, so that each step of a path is a request.
    mount_ = std::make_unique<Mounted>(
        MountPlan{.options = mode.options("allow_other,cache=never"), .source = make_source()});
  }
  stdfs::path make_source() {
    const stdfs::path source = home_ / "source";
    stdfs::create_directories(source / "dir/sub");
    for (const char* name : {"file", "dir/file", "dir/junk", "dir/sub/file"}) {
      make_file(source / name, "inside");
    }
    stdfs::create_directory_symlink(canary_.path() / "dir", source / "link-to-dir");
    stdfs::create_symlink(canary_.path() / "file", source / "link-to-file");
    for (const char* name : {"", "file", "dir", "dir/file", "dir/sub", "dir/sub/file"}) {
      EXPECT_EQ(::chown((source / name).c_str(), kPlainUid, kPlainGid), 0);
    }
    return source;
  }

  // Exchanges the two names in the source again and again while clients do `calls` to `victim`.
  void race(const std::string& one, const std::string& other, const std::string& victim,
            const std::vector<std::function<long(const char*)>>& calls) {
    Process attacker = Process::run(Who::kRoot, [&] {
      while (*stop_ == 0) {
        if (::renameat2(AT_FDCWD, (home_ / "source" / one).c_str(), AT_FDCWD,
                        (home_ / "source" / other).c_str(), RENAME_EXCHANGE) != 0) {
          return errno;
        }
        ++*swaps_;
      }
      return 0;
    });
    std::vector<Process> clients;
    for (int i = 0; i < 2; ++i) {
      clients.push_back(Process::run(Who::kPlainUser, [&] { return attempt(victim, calls); }));
    }
    const char* wanted = std::getenv("OURO_RACE_SWAPS");
    const long swaps = wanted != nullptr ? std::atol(wanted) : 0;
    const auto enough = std::chrono::steady_clock::now() + seconds(1);
    EXPECT_TRUE(
        eventually([&] { return *swaps_ >= swaps && std::chrono::steady_clock::now() >= enough; },
                   wanted != nullptr ? std::chrono::hours(2) : seconds(10)));
    ++*stop_;
    for (Process& client : clients) EXPECT_EQ(client.wait(seconds(20)), kExitOk);
    EXPECT_EQ(attacker.wait(seconds(20)), kExitOk);
  }
  int attempt(const std::string& victim,
              const std::vector<std::function<long(const char*)>>& calls) {
    const std::string path = mount_->path() / victim;
    while (*stop_ == 0) {
      for (const auto& call : calls) {
        ++*tries_.made;
        const int error = result_of(call(path.c_str()));
        if (error == 0) ++*tries_.succeeded;
        if (error == EACCES) ++*tries_.led_outside;
      }
    }
    return 0;
  }
  void expect_held() {
    canary_.expect_untouched();
    // Otherwise it was no race; far less than there are on a machine that has nothing else to do.
    EXPECT_GT(*swaps_, 100);
    EXPECT_GT(*tries_.made, 100);
    EXPECT_GT(*tries_.succeeded, 10);
    EXPECT_GT(*tries_.led_outside, 0);
    const Statistics statistics = mount_->statistics();
    EXPECT_EQ(statistics["nested_waits"] > 0, GetParam() == Metadata::kNested);
  }

  const TempDir home_;
  Canary canary_{home_ / "outside"};
  std::unique_ptr<Mounted> mount_;
  SharedCount stop_;
  SharedCount swaps_;
  Tries tries_;
};

TEST_P(Race, ADirectoryThatBecomesALink) {
  race("dir", "link-to-dir", "dir/file", kCallsOfFiles);
  expect_held();
}

TEST_P(Race, NamesBelowADirectoryThatBecomesALink) {
  race("dir", "link-to-dir", "dir/sub/name", kCallsBelow);
  expect_held();
}

TEST_P(Race, AFileThatBecomesALink) {
  race("file", "link-to-file", "file", kCallsOfFiles);
  expect_held();
}

INSTANTIATE_TEST_SUITE_P(, Race, ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& instance) {
                           return instance.param == Metadata::kInline ? "Inline" : "Nested";
                         });

// --- links, moves and mounts ---------------------------------------------------------------------

class Escape : public ::testing::Test {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    stdfs::create_directories(source_ / "dir");
    make_file(source_ / "inside", "inside");
  }
  void mount(const std::string& options = {}, Who who = Who::kRoot) {
    MountPlan plan{.who = who, .source = source_};
    if (!options.empty()) plan.options = {"-o", options};
    mount_ = std::make_unique<Mounted>(plan);
  }
  [[nodiscard]] std::string mounted(const std::string& name) const { return mount_->path() / name; }

  const TempDir home_;
  const stdfs::path source_ = home_ / "source";
  std::unique_ptr<Mounted> mount_;
};

TEST_F(Escape, LinksAreTextToTheDaemon) {
  const Canary canary(home_ / "outside");
  mount();
  const std::string daemon = "/proc/" + std::to_string(mount_->pid());
  const std::vector<std::string> targets = {"/",
                                            "/etc/passwd",
                                            "/proc/self/root",
                                            "/proc/self/fd/3",
                                            daemon + "/cwd",
                                            daemon + "/fd/0",
                                            "../../..",
                                            (canary.path() / "file").string(),
                                            (canary.path() / "dir").string(),
                                            "\xff\xfe\n",
                                            std::string(4000, 'x')};
  for (std::size_t i = 0; i < targets.size(); ++i) {
    stdfs::create_symlink(targets[i], source_ / ("link" + std::to_string(i)));
  }
  in_child(Who::kRoot, [&] {
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const std::string link = mounted("link" + std::to_string(i));
      std::string text(5000, '\0');
      const auto bytes = ::readlink(link.c_str(), text.data(), text.size());
      ASSERT_GE(bytes, 0) << targets[i];
      text.resize(static_cast<std::size_t>(bytes));
      EXPECT_EQ(text, targets[i]);
      struct ::stat found {};
      EXPECT_EQ(::lstat(link.c_str(), &found), 0);
      EXPECT_TRUE(S_ISLNK(found.st_mode));
      EXPECT_EQ(::lchown(link.c_str(), 5, 5), 0);
      EXPECT_EQ(::utimensat(AT_FDCWD, link.c_str(), nullptr, AT_SYMLINK_NOFOLLOW), 0);
      EXPECT_EQ(result_of(::lsetxattr(link.c_str(), "user.x", "v", 1, 0)), EPERM);
      EXPECT_EQ(result_of(::fchmodat(AT_FDCWD, link.c_str(), 0777, AT_SYMLINK_NOFOLLOW)),
                EOPNOTSUPP);
      EXPECT_EQ(::lstat((source_ / ("link" + std::to_string(i))).c_str(), &found), 0);
      EXPECT_EQ(found.st_uid, 5U) << "of the link itself";
    }
  });
  canary.expect_untouched();
}

TEST_F(Escape, ALinkIsFollowedByTheClientFromWhereHeIs) {
  mount();
  stdfs::create_symlink("/proc/self/status", source_ / "link");
  in_child(Who::kRoot, [&] {
    const std::string status = read_file(mounted("link"));
    EXPECT_NE(status.find("\nPid:\t" + std::to_string(::getpid()) + "\n"), std::string::npos);
  });
}

TEST_F(Escape, ADirectoryThatLeavesTheSourceTakesNobodyAlong) {
  make_file(home_ / "secret", "secret");
  mount();
  in_child(Who::kRoot, [&] {
    const UniqueFd dir = open_at(mounted("dir"), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(dir);
    stdfs::rename(source_ / "dir", home_ / "moved");
    // Who is in it goes on in the same directory, as natively...
    const UniqueFd made(::openat(dir.get(), "made", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_TRUE(made) << errno;
    // ... but what it lies in now is not shown.
    EXPECT_EQ(result_of(::faccessat(dir.get(), "../secret", F_OK, 0)), ENOENT);
    EXPECT_EQ(::faccessat(dir.get(), "../inside", F_OK, 0), 0) << errno;
    EXPECT_EQ(result_of(::openat(dir.get(), "../../secret", O_RDONLY)), ENOENT);
  });
  EXPECT_TRUE(stdfs::exists(home_ / "moved/made"));
}

TEST_F(Escape, WhatIsMountedLaterIsNotShown) {
  make_file(source_ / "dir/before", "before");
  const Canary canary(home_ / "outside");
  mount();
  ASSERT_EQ(::mount((canary.path() / "dir").c_str(), (source_ / "dir").c_str(), nullptr, MS_BIND,
                    nullptr),
            0);
  in_child(Who::kRoot, [&] {
    EXPECT_EQ(read_file(mounted("dir/before")), "before");
    EXPECT_EQ(result_of(::access(mounted("dir/junk").c_str(), F_OK)), ENOENT);
  });
  canary.expect_untouched();
  EXPECT_EQ(::umount2((source_ / "dir").c_str(), MNT_DETACH), 0);
}

TEST_F(Escape, APlainUsersDaemonStaysOnOneFileSystemIfItIsTold) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  mount("one_file_system", Who::kPlainUser);
  ASSERT_EQ(::mount("tmpfs", (source_ / "dir").c_str(), "tmpfs", 0, nullptr), 0);
  make_file(source_ / "dir/secret", "secret");
  in_child(Who::kPlainUser, [&] {
    EXPECT_EQ(result_of(::access(mounted("dir/secret").c_str(), F_OK)), EXDEV);
    EXPECT_EQ(read_file(mounted("inside")), "inside");
  });
  EXPECT_EQ(::umount2((source_ / "dir").c_str(), MNT_DETACH), 0);
}

TEST_F(Escape, AHardLinkIsTheFileAsNatively) {
  make_file(home_ / "outside", "outside");
  mount();
  stdfs::create_hard_link(home_ / "outside", source_ / "linked");
  in_child(Who::kRoot, [&] {
    const UniqueFd fd = open_at(mounted("linked"), O_RDWR);
    EXPECT_EQ(::pwrite(fd.get(), "OUT", 3, 0), 3);
    struct ::stat found {};
    EXPECT_EQ(::fstat(fd.get(), &found), 0);
    EXPECT_EQ(found.st_nlink, 2U);
  });
  EXPECT_EQ(read_file(home_ / "outside"), "OUTside");
}

// --- handles -------------------------------------------------------------------------------------

TEST_F(Escape, NoHandleOfTheMountOpensAnything) {
  mount();
  in_child(Who::kRoot, [&] {
    const UniqueFd at = open_at(mount_->path(), O_RDONLY | O_DIRECTORY);
    alignas(file_handle) std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> space{};
    auto* const handle = reinterpret_cast<file_handle*>(space.data());
    handle->handle_bytes = MAX_HANDLE_SZ;
    int mount_id = 0;
    EXPECT_EQ(result_of(::name_to_handle_at(at.get(), "inside", handle, &mount_id, 0)), EOPNOTSUPP);
    // KERNEL: fs/fuse/inode.c, fuse_encode_fh(): a node and its generation.
    constexpr int kNodeAndGeneration = 0x81;
    for (std::uint32_t node = 0; node < 2000; ++node) {
      const std::array<std::uint32_t, 3> forged{node % 2, node / 2, 0};
      handle->handle_type = kNodeAndGeneration;
      handle->handle_bytes = sizeof forged;
      std::memcpy(space.data() + sizeof(file_handle), forged.data(), sizeof forged);
      const UniqueFd fd(::open_by_handle_at(at.get(), handle, O_RDONLY | O_CLOEXEC));
      ASSERT_FALSE(fd) << node;
    }
    EXPECT_EQ(read_file(mounted("inside")), "inside") << "it serves on";
  });
}

TEST_F(Escape, HandlesOfTwoMountsAreNotMistakenForEachOther) {
  std::array<std::unique_ptr<LoopImage>, 2> images;
  std::array<ino_t, 2> inodes{};
  for (unsigned i = 0; i < 2; ++i) {
    auto made = LoopImage::create("ext4", std::uintmax_t{64} << 20);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<LoopImage>>(made));
    images[i] = std::get<std::unique_ptr<LoopImage>>(std::move(made));
    const stdfs::path place = source_ / std::to_string(i);
    stdfs::create_directory(place);
    ASSERT_EQ(::mount(images[i]->path().c_str(), place.c_str(), nullptr, MS_BIND, nullptr), 0);
    make_file(place / "file", std::string("content of ") + std::to_string(i));
    inodes[i] = inode_of(place / "file");
  }
  ASSERT_EQ(inodes[0], inodes[1]) << "otherwise there is nothing to mistake";
  mount("inode_file_handles=mandatory,cache=never");
  in_child(Who::kRoot, [&] {
    for (int round = 0; round < 20; ++round) {
      for (const char* i : {"0", "1"}) {
        EXPECT_EQ(read_file(mounted(std::string(i) + "/file")), std::string("content of ") + i);
      }
    }
  });
  EXPECT_GT(mount_->statistics()["handle_opens"], 40U);
  mount_.reset();
  for (const char* i : {"0", "1"}) EXPECT_EQ(::umount2((source_ / i).c_str(), MNT_DETACH), 0);
}

TEST_F(Escape, ANumberUsedAgainIsAnotherFile) {
  auto made = LoopImage::create("xfs");
  ASSERT_TRUE(std::holds_alternative<std::unique_ptr<LoopImage>>(made));
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  const stdfs::path source = image->path() / "source";
  stdfs::create_directory(source);
  // No descriptor keeps the number from being used again; and size and times are the same, so that
  // only the handle tells.
  const auto put = [&](const std::string& content) {
    make_file(source / "file", content);
    const std::array<timespec, 2> times{timespec{1000, 0}, timespec{1000, 0}};
    EXPECT_EQ(::utimensat(AT_FDCWD, (source / "file").c_str(), times.data(), 0), 0);
    return inode_of(source / "file");
  };
  // XFS takes a while to free a number.
  std::set<ino_t> numbers{put("content 0")};
  const Mounted mounted(
      {.options = {"-o", "inode_file_handles=mandatory,entry_timeout=0"}, .source = source});
  int used_again = 0;
  for (int i = 1; i < 40; ++i) {
    in_child(Who::kRoot, [&] {
      EXPECT_EQ(read_file(mounted.path() / "file"), "content " + std::to_string(i - 1));
    });
    stdfs::remove(source / "file");
    used_again += numbers.insert(put("content " + std::to_string(i))).second ? 0 : 1;
  }
  EXPECT_GT(used_again, 0);
}

}  // namespace
}  // namespace ouro::testing
