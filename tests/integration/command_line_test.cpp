// The command line, good and bad: what is printed, with which exit code, and that the parent
// returns neither before the mount serves nor with anything left behind.
#include "tests/integration/command_line.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/file_tools.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

// Whether a look at the mount shows what is in the source, right now.
void expect_serving(const std::filesystem::path& mount, const std::string& name,
                    Who who = Who::kRoot) {
  in_child(who, [&] { EXPECT_EQ(::access((mount / name).c_str(), F_OK), 0) << mount / name; });
}

void expect_nothing_left(const Playground& place) {
  EXPECT_FALSE(is_mountpoint(place.mount()));
  EXPECT_FALSE(is_mountpoint(place.source()));
  EXPECT_TRUE(eventually([] { return processes_named("ourofs").empty(); })) << "it goes on";
}

class Background : public ::testing::TestWithParam<Who> {
 protected:
  void SetUp() override { OURO_REQUIRE(can_mount_as(GetParam())); }
};

// Many times, because a parent that returns too early is mostly lucky.
TEST_P(Background, ServesWhenTheParentReturns) {
  const Playground place(GetParam());
  make_file(place.source() / "f");
  for (int i = 0; i < 10; ++i) {
    const Output output = place.ourofs({"source", "mount"});
    ASSERT_EQ(output.exit, kExitOk) << output.text;
    EXPECT_EQ(output.text, "");
    expect_serving(place.mount(), "f", GetParam());
    EXPECT_EQ(processes_named("ourofs").size(), 1U);
    place.unmount(place.mount());
  }
  expect_nothing_left(place);
}

TEST_P(Background, TakesRelativePathsFromItsOwnDirectory) {
  const Playground place(GetParam());
  make_file(place.source() / "f");
  const Output output = place.ourofs({"-o", "cache=never", "../source", "--loops=1", "../mount"},
                                     [] { ASSERT_EQ(::chdir("source"), 0); });
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  expect_serving(place.mount(), "f", GetParam());
  place.unmount(place.mount());
}

TEST_P(Background, HoldsOnToNothingOfItsParent) {
  const Playground place(GetParam());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Output output = place.ourofs({"source", "mount"});
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  ::close(ends[1]);
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "the daemon has our pipe";
  const std::string daemon = "/proc/" + std::to_string(processes_named("ourofs").at(0));
  EXPECT_EQ(std::filesystem::read_symlink(daemon + "/cwd"), "/");
  EXPECT_EQ(std::filesystem::read_symlink(daemon + "/fd/2"), "/dev/null");
  ::close(ends[0]);
  place.unmount(place.mount());
}

INSTANTIATE_TEST_SUITE_P(, Background, ::testing::Values(Who::kRoot, Who::kPlainUser),
                         [](const auto& instance) {
                           return instance.param == Who::kRoot ? "Root" : "User";
                         });

TEST(CommandLine, ShowsHelpAndVersion) {
  const Playground place;
  const Output help = place.ourofs({"--help"});
  EXPECT_EQ(help.exit, kExitOk);
  EXPECT_TRUE(help.text.starts_with("Usage: ourofs [options] SOURCE MOUNTPOINT\n")) << help.text;
  const Output version = place.ourofs({"-V"});
  EXPECT_EQ(version.exit, kExitOk);
  for (const char* part : {"ourofs ", "libfuse 3.", "liburing ", "Linux ", "FUSE protocol 7."}) {
    EXPECT_NE(version.text.find(part), std::string::npos) << part << " in " << version.text;
  }
}

TEST(CommandLine, SaysWhenItCannotPrint) {
  const Playground place;
  for (const char* option : {"--help", "-V"}) {
    const Output output = place.ourofs({option}, [] {
      const int full = ::open("/dev/full", O_WRONLY);
      ASSERT_EQ(::dup2(full, STDOUT_FILENO), STDOUT_FILENO);
    });
    EXPECT_EQ(output.exit, (Exit{2, 0})) << option;
    EXPECT_EQ(output.text, "ourofs: cannot write: No space left on device\n") << option;
  }
}

// What mount options say is what the kernel is told.
TEST(CommandLine, HandsMountOptionsOn) {
  OURO_REQUIRE(has_root());
  const Playground place;
  make_file(place.source() / "f");
  const Output output = place.ourofs(
      {"-o", "ro,noexec,noatime,allow_other,fsname=a\\,b,subtype=mine", "source", "mount"});
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  const std::string mounts = read_file("/proc/self/mounts");
  EXPECT_NE(mounts.find("a,b " + place.mount().string() +
                        " fuse.mine ro,nosuid,nodev,noexec,"
                        "noatime,user_id=0,group_id=0,default_permissions,allow_other"),
            std::string::npos)
      << mounts;
  in_child(Who::kRoot, [&] {
    EXPECT_LT(::open((place.mount() / "f").c_str(), O_RDWR), 0);
    EXPECT_EQ(errno, EROFS);
  });
  in_child(Who::kPlainUser, [&] { EXPECT_EQ(::access(place.mount().c_str(), R_OK), 0); });
  place.unmount(place.mount());
}

// Over itself, as users of bindfs do.
TEST(CommandLine, MountsOverTheSource) {
  for (const Who who : {Who::kRoot, Who::kPlainUser}) {
    OURO_REQUIRE(can_mount_as(who));
    const Playground place(who);
    make_file(place.source() / "f", "text");
    const Output output = place.ourofs({"source", "source"});
    ASSERT_EQ(output.exit, kExitOk) << output.text;
    in_child(who, [&] {
      EXPECT_EQ(read_file(place.source() / "f"), "text");
      make_file(place.source() / "g", "through");
    });
    place.unmount(place.source());
    EXPECT_EQ(read_file(place.source() / "g"), "through");
  }
}

TEST(CommandLine, ServesAMountPointInsideTheSource) {
  for (const Who who : {Who::kRoot, Who::kPlainUser}) {
    OURO_REQUIRE(can_mount_as(who));
    const Playground place(who);
    const std::filesystem::path inner = place.source() / "a/mount";
    std::filesystem::create_directories(inner / "covered");
    ASSERT_EQ(::chown(inner.c_str(), who == Who::kRoot ? 0 : kPlainUid, 0), 0);
    const Output output = place.ourofs({"source", "source/a/mount"});
    ASSERT_EQ(output.exit, kExitOk) << output.text;
    const Output found =
        run_command({.arguments = {"find", inner}, .who = who}, std::chrono::seconds(10));
    EXPECT_EQ(found.exit, kExitOk) << found.text;
    const std::string top = inner.string() + "\n" + (inner / "a").string() + "\n" +
                            (inner / "a/mount").string() + "\n" +
                            (inner / "a/mount/covered").string() + "\n";
    EXPECT_EQ(found.text, top);
    place.unmount(inner);
  }
}

struct BadInput {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
  std::string line;  // without "ourofs: "; HOME stands for the playground
  Who who = Who::kRoot;
  void (*before)(const Playground&) = nullptr;
  void (*before_exec)() = nullptr;
  void (*after)() = nullptr;

  friend std::ostream& operator<<(std::ostream& out, const BadInput& input) {
    return out << input.name;
  }
};

constexpr const char* kHelp = " (try 'ourofs --help')";

std::vector<BadInput> usage_errors() {
  const auto usage = [](const char* name, std::vector<std::string> arguments, const char* line) {
    return BadInput{name, std::move(arguments), 1, std::string(line) + kHelp};
  };
  const auto option = [&](const char* name, const char* words, const char* line) {
    return usage(name, {"-o", words, "source", "mount"}, line);
  };
  return {
      usage("Nothing", {}, "SOURCE and MOUNTPOINT are missing"),
      usage("NoMountPoint", {"source"}, "MOUNTPOINT is missing"),
      usage("TooMuch", {"source", "mount", "more"}, "unexpected argument 'more'"),
      usage("UnknownLong", {"--bogus", "source", "mount"}, "unknown option '--bogus'"),
      option("Unknown", "bogus", "unknown option 'bogus'"),
      option("NoLoops", "loops=0", "option 'loops': '0' is not a number from 1 to 64"),
      option("OddLoops", "loops=2x", "option 'loops': '2x' is not a number from 1 to 64"),
      option("Cache", "cache=maybe",
             "option 'cache': 'maybe' is not never, metadata, auto or always"),
      option("Backing", "backing=disk",
             "option 'backing': 'disk' is not ring, inline, kernel or auto"),
      option("Metadata", "metadata=x", "option 'metadata': 'x' is not auto, inline or nested"),
      option("MaxWrite", "max_write=5K",
             "option 'max_write': '5K' is not a multiple of 4K from 4K to 262140K"),
      option("Timeout", "attr_timeout=-1",
             "option 'attr_timeout': '-1' is not a number of seconds from 0 to 1000000000"),
      option("LogLevel", "log_level=loud",
             "option 'log_level': 'loud' is not error, warning, info or debug"),
      option("NoValue", "cache", "option 'cache' needs a value, as in cache=MODE"),
      option("Value", "writeback=1", "option 'writeback' takes no value"),
  };
}

void make_plain_file(const Playground& place) {
  make_file(place.path() / "file");
}

std::vector<BadInput> bad_places() {
  return {
      {"NoSource", {"nothing", "mount"}, 32, "source 'nothing': No such file or directory"},
      {"SourceIsAFile",
       {"file", "mount"},
       32,
       "source 'file': Not a directory",
       Who::kRoot,
       make_plain_file},
      {"NoMountDirectory",
       {"source", "nothing"},
       32,
       "mountpoint 'nothing': No such file or directory"},
      {"MountPointIsAFile",
       {"source", "file"},
       32,
       "mountpoint 'file': Not a directory",
       Who::kRoot,
       make_plain_file},
      {"SourceInside",
       {"source/below", "source"},
       32,
       "source 'source/below' is inside mountpoint 'source', which would hide it",
       Who::kRoot,
       [](const Playground& place) {
         std::filesystem::create_directory(place.source() / "below");
       }},
      {"UnreadableSource",
       {"source", "mount"},
       32,
       "source 'source': Permission denied",
       Who::kPlainUser,
       [](const Playground& place) {
         EXPECT_EQ(::chown(place.source().c_str(), 0, 0), 0);
         EXPECT_EQ(::chmod(place.source().c_str(), 0700), 0);
       }},
      {"ForeignMountPoint",
       {"source", "mount"},
       32,
       "cannot mount on 'HOME/mount': user has no write access to mountpoint HOME/mount (a user "
       "may mount only on directories that he can write to)",
       Who::kPlainUser,
       [](const Playground& place) { EXPECT_EQ(::chown(place.mount().c_str(), 0, 0), 0); }},
      {"AllowOther",
       {"-o", "allow_other", "source", "mount"},
       32,
       "cannot mount on 'HOME/mount': option allow_other only allowed if 'user_allow_other' is set "
       "in /etc/fuse.conf (root can add the line 'user_allow_other' to /etc/fuse.conf)",
       Who::kPlainUser,
       // Whatever this machine's file says.
       [](const Playground&) {
         EXPECT_EQ(::mount("/dev/null", "/etc/fuse.conf", nullptr, MS_BIND, nullptr), 0);
       },
       nullptr,
       [] { EXPECT_EQ(::umount("/etc/fuse.conf"), 0); }},
      {"NoDevice",
       {"source", "mount"},
       32,
       "cannot mount on 'HOME/mount': /dev/fuse: No such file or directory (load the module with "
       "'modprobe fuse', or give the container the device)",
       Who::kRoot,
       [](const Playground&) { EXPECT_EQ(::mount("none", "/dev", "tmpfs", 0, nullptr), 0); },
       nullptr,
       [] { EXPECT_EQ(::umount("/dev"), 0); }},
      {"ClosedDevice",
       {"source", "mount"},
       32,
       "cannot mount on 'HOME/mount': /dev/fuse: Permission denied (this user may not open the "
       "device; udev makes it mode 0666)",
       Who::kPlainUser,
       [](const Playground&) { EXPECT_EQ(::chmod("/dev/fuse", 0600), 0); },
       nullptr,
       [] { EXPECT_EQ(::chmod("/dev/fuse", 0666), 0); }},
      {"FewFiles",
       {"source", "mount"},
       2,
       "the limit of open files is 1023, at least 1024 are needed (raise the hard limit: "
       "'ulimit -Hn', or nofile in /etc/security/limits.conf)",
       Who::kPlainUser,
       nullptr,
       [] {
         const rlimit few{64, 1023};
         ::setrlimit(RLIMIT_NOFILE, &few);
       }},
  };
}

class BadCommandLine : public ::testing::TestWithParam<BadInput> {};

// One line that says what and why, the exit code of mount(8), and nothing left behind; in the
// background, where the parent must wait for the end, and in the foreground.
TEST_P(BadCommandLine, SaysWhy) {
  const BadInput& input = GetParam();
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(can_mount_as(input.who));
  const Playground place(input.who);
  if (input.before != nullptr) input.before(place);
  std::string line = "ourofs: " + input.line + "\n";
  for (std::size_t at = 0; (at = line.find("HOME", at)) != std::string::npos;) {
    line.replace(at, 4, place.path());
  }
  for (const bool foreground : {false, true}) {
    std::vector<std::string> arguments = input.arguments;
    if (foreground) arguments.emplace_back("-f");
    const Output output = place.ourofs(arguments, input.before_exec);
    EXPECT_EQ(output.exit, (Exit{input.exit_code, 0}));
    EXPECT_EQ(output.text, line);
    expect_nothing_left(place);
  }
  if (input.after != nullptr) input.after();
}

const auto kNameOf = [](const auto& instance) { return instance.param.name; };
INSTANTIATE_TEST_SUITE_P(Usage, BadCommandLine, ::testing::ValuesIn(usage_errors()), kNameOf);
INSTANTIATE_TEST_SUITE_P(Place, BadCommandLine, ::testing::ValuesIn(bad_places()), kNameOf);

TEST(BadCommandLines, MountTwice) {
  OURO_REQUIRE(has_root());
  const Playground place;
  ASSERT_EQ(place.ourofs({"source", "mount"}).exit, kExitOk);
  const Output second = place.ourofs({"source", "mount"});
  EXPECT_EQ(second.exit, (Exit{32, 0}));
  const std::string mount = "'" + place.mount().string() + "'";
  EXPECT_EQ(second.text, "ourofs: mountpoint " + mount + " is busy: ourofs already serves '" +
                             place.source().string() + "' there (unmount it with: fusermount3 -u " +
                             mount + ")\n");
  place.unmount(place.mount());
  expect_nothing_left(place);
}

// As many loops as there can be, and directories of a size that is not unusual.
TEST(FewestFiles, AreEnough) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  const Playground place(Who::kPlainUser);
  for (int i = 0; i < 200; ++i) make_file(place.source() / std::to_string(i));
  const Output output = place.ourofs({"-o", "loops=64", "source", "mount"}, [] {
    const rlimit few{1024, 1024};
    ::setrlimit(RLIMIT_NOFILE, &few);
  });
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  const Output listed =
      run_command({.arguments = {"ls", "-l", place.mount()}, .who = Who::kPlainUser});
  EXPECT_EQ(listed.exit, kExitOk) << listed.text;
  place.unmount(place.mount());
}

}  // namespace
}  // namespace ouro::testing
