#include "mount-helper/mount_command.hpp"

#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

Outcome<MountCommand> parse(std::vector<std::string> words) {
  words.insert(words.begin(), "/sbin/mount.fuse.ourofs");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse_mount_command(static_cast<int>(words.size()), argv.data());
}

MountCommand accepted(std::vector<std::string> words) {
  auto command = parse(std::move(words));
  if (command) return *std::move(command);
  ADD_FAILURE() << render(command.error());
  return {};
}

std::string complaint(std::vector<std::string> words) {
  const auto command = parse(std::move(words));
  if (command) return "accepted";
  EXPECT_EQ(command.error().exit_code, ExitCode::kUsage);
  return command.error().message;
}

// What it becomes as a line of ourofs, without the program's name. Of a plain user, since root's
// has more options.
std::vector<std::string> line(std::vector<std::string> words) {
  std::vector<std::string> arguments = accepted(std::move(words)).arguments;
  if (!arguments.empty()) arguments.erase(arguments.begin());
  return arguments;
}

std::string options_of(std::vector<std::string> words) {
  return line(std::move(words)).at(1);
}

// What is added for root.
std::string for_root(const std::string& options) {
  return ::geteuid() == 0 ? options : "";
}

TEST(MountCommand, IsKnownByItsName) {
  EXPECT_TRUE(is_mount_command("/sbin/mount.fuse.ourofs"));
  EXPECT_TRUE(is_mount_command("mount.fuse.ourofs"));
  EXPECT_FALSE(is_mount_command("/usr/bin/ourofs"));
}

TEST(MountCommand, BecomesALineOfOurofs) {
  const std::string options = "ro,loops=2,fsname=/s" + for_root(",dev,suid");
  EXPECT_EQ(line({"/s", "/m", "-o", "ro,loops=2"}),
            (std::vector<std::string>{"-o", options, "--", "/s", "/m"}));
  EXPECT_EQ(line({"-o", "ro", "/s", "/m", "-o", "loops=2"}), line({"/s", "/m", "-oro,loops=2"}))
      << "mount(8) puts them behind the names, a person may not";
}

TEST(MountCommand, TakesASourceWithAPrefix) {
  EXPECT_EQ(line({"source:/s", "/m"}),
            (std::vector<std::string>{"-o", "fsname=source:/s" + for_root(",dev,suid"), "--", "/s",
                                      "/m"}));
}

TEST(MountCommand, TakesTheSourceFromTheOptionsAndKeepsTheName) {
  EXPECT_EQ(line({"label", "/m", "-o", "source=/s"}),
            (std::vector<std::string>{"-o", "source=/s,fsname=label" + for_root(",dev,suid"), "--",
                                      "/m"}));
}

TEST(MountCommand, KeepsNamesWithCommasInOnePiece) {
  EXPECT_EQ(options_of({"/a,b\\c", "/m"}), "fsname=/a\\,b\\\\c" + for_root(",dev,suid"));
  EXPECT_EQ(options_of({"/s", "/m", "-o", "fsname=x"}), "fsname=x" + for_root(",dev,suid"));
}

TEST(MountCommand, GivesRootDevicesAndSetIdBitsUnlessTold) {
  EXPECT_EQ(options_of({"/s", "/m", "-o", "nodev,nosuid"}), "nodev,nosuid,fsname=/s");
  EXPECT_EQ(options_of({"/s", "/m", "-o", "nodev"}), "nodev,fsname=/s" + for_root(",suid"));
}

TEST(MountCommand, TakesTheSubtypeFromTheType) {
  EXPECT_EQ(options_of({"/s", "/m", "-t", "fuse.ourofs", "-o", "nodev,nosuid"}),
            "nodev,nosuid,fsname=/s,subtype=ourofs");
  EXPECT_EQ(options_of({"/s", "/m", "-t", "fuse", "-o", "nodev,nosuid"}), "nodev,nosuid,fsname=/s");
}

TEST(MountCommand, LeavesUnknownOptionsToOurofsUnlessSloppy) {
  EXPECT_EQ(options_of({"/s", "/m", "-o", "strictatime,nodev,nosuid"}),
            "strictatime,nodev,nosuid,fsname=/s")
      << "which refuses it";
  EXPECT_EQ(options_of({"/s", "/m", "-s", "-o", "ro,strictatime,nodev,nosuid"}),
            "ro,nodev,nosuid,fsname=/s");
}

TEST(MountCommand, KnowsTheLettersOfMount) {
  const MountCommand plain = accepted({"/s", "/m", "-n", "-v"});
  EXPECT_FALSE(plain.fake);
  EXPECT_FALSE(plain.remount);
  EXPECT_TRUE(accepted({"/s", "/m", "-f"}).fake);
  EXPECT_EQ(complaint({"/s", "/m", "-N", "/proc/1/ns/mnt"}),
            "option '-N' is not supported: use nsenter(1)");
  EXPECT_EQ(complaint({"/s", "/m", "-x"}), "unknown option or missing value: '-x'");
  EXPECT_EQ(complaint({"/s", "/m", "-o"}), "unknown option or missing value: '-o'");
}

TEST(MountCommand, WantsTwoNames) {
  EXPECT_EQ(complaint({}), "SOURCE and MOUNTPOINT are needed");
  EXPECT_EQ(complaint({"/s"}), "SOURCE and MOUNTPOINT are needed");
  EXPECT_EQ(complaint({"/s", "/m", "/n"}), "SOURCE and MOUNTPOINT are needed");
}

TEST(MountCommand, TakesTheUserOutOfTheOptions) {
  const MountCommand command = accepted({"/s", "/m", "-o", "setuid=nobody,drop_privileges,ro"});
  EXPECT_EQ(command.user, "nobody");
  EXPECT_EQ(command.arguments.at(2), "ro,fsname=/s" + for_root(",dev,suid"));
}

TEST(MountCommand, RemountKnowsWhatAMountCanHave) {
  const MountCommand command = accepted(
      {"/s", "/m", "-o", "rw,nosuid,relatime,user_id=0,allow_other,cache=auto,remount,ro"});
  EXPECT_TRUE(command.remount);
  EXPECT_EQ(command.mountpoint, "/m");
  EXPECT_EQ(complaint({"/s", "/m", "-o", "remount,colour=red"}), "unknown option 'colour'");
  EXPECT_TRUE(accepted({"/s", "/m", "-s", "-o", "remount,colour=red"}).remount);
}

TEST(MountCommand, RemountSaysWhatTheKernelHasAgainstIt) {
  const auto done = remount(accepted({"/s", "/nowhere/at/all", "-o", "remount,ro"}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().exit_code, ExitCode::kMountFailed);
  EXPECT_EQ(done.error().message,
            std::string("cannot remount '/nowhere/at/all': ") +
                (::geteuid() == 0 ? "No such file or directory" : "Operation not permitted"));
}

TEST(MountCommand, NobodyBecomesAUserWhoDoesNotExist) {
  const auto become = become_user("no such user");
  ASSERT_FALSE(become);
  EXPECT_EQ(become.error().exit_code, ExitCode::kUsage);
  EXPECT_EQ(become.error().message, "option 'setuid': there is no user 'no such user'");
}

}  // namespace
}  // namespace ouro::mount_helper
