// FIFOs, sockets and devices of the source are opened by the client's kernel, and never by the
// daemon: to open one can block for ever, or do something to a device.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/acl.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::filesystem::path;

constexpr std::array kSpecial{"fifo", "socket", "character", "block"};

void make_socket(const path& name) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(name.string().size(), sizeof address.sun_path);
  std::strncpy(address.sun_path, name.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
}

void make_special_files(const path& root) {
  ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0666), 0);
  make_socket(root / "socket");
  ASSERT_EQ(::mknod((root / "character").c_str(), S_IFCHR | 0666, ::makedev(1, 3)), 0);
  // A number that no driver has.
  ASSERT_EQ(::mknod((root / "block").c_str(), S_IFBLK | 0666, ::makedev(120, 7)), 0);
  make_file(root / "regular", "text");
}

// Who opens the files of a directory, by name. O_PATH is not to open.
class OpenWatch {
 public:
  explicit OpenWatch(const path& directory) {
    EXPECT_GE(::inotify_add_watch(fd_.get(), directory.c_str(), IN_OPEN), 0);
  }
  // The names that were opened since.
  [[nodiscard]] std::set<std::string> opened() const {
    std::set<std::string> names;
    alignas(inotify_event) std::array<char, 65'536> events{};
    const ssize_t bytes = ::read(fd_.get(), events.data(), events.size());
    for (ssize_t at = 0; at < bytes;) {
      const auto* event = reinterpret_cast<const inotify_event*>(&events[static_cast<size_t>(at)]);
      if (event->len > 0) names.insert(event->name);
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
    return names;
  }

 private:
  UniqueFd fd_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
};

void open_every_way(const std::string& file) {
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT,
                          O_WRONLY | O_APPEND, O_RDONLY | O_DIRECT, O_PATH}) {
    const UniqueFd fd(::open(file.c_str(), flags | O_NONBLOCK | O_CLOEXEC, 0644));
    struct ::stat found {};
    EXPECT_TRUE(!fd || ::fstat(fd.get(), &found) == 0) << file;
  }
}

// Everything that can be asked of a file by its name.
void use(const std::string& file) {
  open_every_way(file);
  struct ::stat found {};
  EXPECT_EQ(::stat(file.c_str(), &found), 0) << file;
  EXPECT_EQ(::chmod(file.c_str(), 0600), 0) << file;
  EXPECT_EQ(::chown(file.c_str(), 1, 1), 0) << file;
  EXPECT_EQ(::utimensat(AT_FDCWD, file.c_str(), nullptr, 0), 0) << file;
  static_cast<void>(::truncate(file.c_str(), 0));
  static_cast<void>(::setxattr(file.c_str(), "user.a", "v", 1, 0));
  EXPECT_EQ(::setxattr(file.c_str(), "trusted.a", "v", 1, 0), 0) << file;
  EXPECT_EQ(::getxattr(file.c_str(), "trusted.a", nullptr, 0), 1) << file;
  const std::string acl =
      encode_acl({{AclEntry::kUserObj, 6}, {AclEntry::kGroupObj, 6}, {AclEntry::kOther, 6}});
  EXPECT_EQ(::setxattr(file.c_str(), kAccessAcl, acl.data(), acl.size(), 0), 0) << file;
  EXPECT_EQ(::access(file.c_str(), R_OK | W_OK), 0) << file;
  EXPECT_EQ(::link(file.c_str(), (file + "-link").c_str()), 0) << file;
  EXPECT_EQ(::rename((file + "-link").c_str(), (file + "-renamed").c_str()), 0) << file;
  EXPECT_EQ(::unlink((file + "-renamed").c_str()), 0) << file;
}

// The special files that the process holds by more than O_PATH.
std::vector<std::string> opened_by(pid_t pid, const path& root) {
  std::vector<std::string> found;
  const path proc = path("/proc") / std::to_string(pid);
  for (const char* name : kSpecial) {
    struct ::stat special {};
    EXPECT_EQ(::stat((root / name).c_str(), &special), 0) << name;
    for (const auto& entry : std::filesystem::directory_iterator(proc / "fd")) {
      struct ::stat open {};
      if (::stat(entry.path().c_str(), &open) != 0) continue;
      if (open.st_ino != special.st_ino || open.st_dev != special.st_dev) continue;
      const std::string info = read_file(proc / "fdinfo" / entry.path().filename());
      const std::size_t at = info.find("flags:");
      const unsigned long flags = std::stoul(info.substr(at + 6), nullptr, 8);
      if ((flags & O_PATH) == 0) found.push_back(name);
    }
  }
  return found;
}

class SpecialFiles : public ::testing::TestWithParam<Metadata> {};

TEST_P(SpecialFiles, AreNeverOpenedByTheDaemon) {
  OURO_REQUIRE(has_root());
  const Mode mode{Who::kRoot, Backing::kRing, GetParam(), 1};
  Mounted mounted({.options = mode.options("dev")});
  make_special_files(mounted.source());
  const OpenWatch watch(mounted.source());
  in_child(Who::kRoot, [&] {
    for (const char* name : kSpecial) use(mounted.path() / name);
  });
  EXPECT_EQ(watch.opened(), std::set<std::string>());
  in_child(Who::kRoot, [&] { EXPECT_EQ(read_file(mounted.path() / "regular"), "text"); });
  EXPECT_EQ(watch.opened(), std::set<std::string>{"regular"}) << "or the watch sees nothing";
  for (const auto& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

TEST_P(SpecialFiles, BlockNobodyButWhoOpensThem) {
  OURO_REQUIRE(has_root());
  const Mode mode{Who::kRoot, Backing::kRing, GetParam(), 1};
  Mounted mounted({.options = mode.options("dev")});
  make_special_files(mounted.source());
  const std::string fifo = mounted.path() / "fifo";
  Process reader = Process::run(Who::kRoot, [&] {
    const UniqueFd fd(::open(fifo.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 16> text{};
    const ssize_t got = ::read(fd.get(), text.data(), text.size());
    return got == 16 && std::string(text.data(), text.size()) == "through the fifo" ? 0 : 1;
  });
  in_child(Who::kRoot, [&] {
    // A reader waits for a writer, as it does natively, while everything else is served.
    UniqueFd writer;
    EXPECT_TRUE(eventually([&] {
      EXPECT_EQ(read_file(mounted.path() / "regular"), "text");
      writer.reset(::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
      return static_cast<bool>(writer);
    }));
    EXPECT_EQ(opened_by(mounted.pid(), mounted.source()), std::vector<std::string>());
    EXPECT_EQ(::write(writer.get(), "through the fifo", 16), 16);
  });
  EXPECT_EQ(reader.wait(std::chrono::seconds(20)), kExitOk);
}

INSTANTIATE_TEST_SUITE_P(, SpecialFiles, ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& instance) {
                           return instance.param == Metadata::kInline ? "Inline" : "Nested";
                         });

}  // namespace
}  // namespace ouro::testing
