// `mount -t fuse.ourofs` and what /etc/fstab can say, by the machine's own mount(8).
#include <fcntl.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/command_line.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/isolation.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

// mount(8) looks for its helpers in /sbin only. This one is there in our mount namespace.
class MountCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    ASSERT_TRUE(is_isolated());
    const std::filesystem::path program = ourofs_program();
    std::filesystem::create_symlink(program, helpers_ / "mount.fuse.ourofs");
    const std::string layers =
        "lowerdir=" + helpers_.path().string() + ":" + std::filesystem::canonical("/sbin").string();
    ASSERT_EQ(::mount("overlay", "/sbin", "overlay", 0, layers.c_str()), 0) << errno;
    make_file(place_.source() / "f");
  }
  void TearDown() override { ::umount2("/sbin", MNT_DETACH); }

  Output run(std::vector<std::string> arguments) const {
    return run_command({.arguments = std::move(arguments), .directory = place_.path()});
  }
  Output mount(const std::string& options, const std::string& source = "source:/") const {
    const std::string spec = source == "source:/" ? "source:" + place_.source().string() : source;
    return run({"mount", "-t", "fuse.ourofs", spec, place_.mount(), "-o", options});
  }
  [[nodiscard]] unsigned long flags() const {
    struct ::statvfs file_system {};
    EXPECT_EQ(::statvfs(place_.mount().c_str(), &file_system), 0);
    return file_system.f_flag;
  }
  // The line of the mount in mountinfo, from its type on.
  [[nodiscard]] std::string shown() const {
    std::istringstream table(read_file("/proc/self/mountinfo"));
    for (std::string line; std::getline(table, line);) {
      if (line.find(" " + place_.mount().string() + " ") == std::string::npos) continue;
      return line.substr(line.find(" - ") + 3);
    }
    return "nothing";
  }
  [[nodiscard]] bool can_create() const {
    const std::filesystem::path path = place_.mount() / "new";
    const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0644);
    if (fd < 0) return false;
    ::close(fd);
    return ::unlink(path.c_str()) == 0;
  }

  TempDir helpers_;
  Playground place_;
};

TEST_F(MountCommand, MountsAndShowsTheSourceAsItWasGiven) {
  const Output output = mount("allow_other,loops=1");
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_EQ(::access((place_.mount() / "f").c_str(), F_OK), 0) << "it returns when it serves";
  EXPECT_EQ(shown().find("fuse.ourofs source:" + place_.source().string() + " rw,"), 0U) << shown();
  EXPECT_EQ(flags() & (ST_NOSUID | ST_NODEV), 0U) << "as mount.fuse3 does it for root";
  place_.unmount(place_.mount());
}

TEST_F(MountCommand, TakesAnEntryOfFstab) {
  const std::string fstab = place_.path() / "fstab";
  make_file(fstab,
            "label " + place_.mount().string() + " fuse.ourofs source=" + place_.source().string() +
                ",rw,nosuid,noauto,nofail,_netdev,x-systemd.automount,comment=no,max_write=512K,"
                "raise_max_pages_limit,max_readahead=64K 0 0\n");
  const Output output = run({"mount", "-T", fstab, place_.mount()});
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_EQ(::access((place_.mount() / "f").c_str(), F_OK), 0);
  EXPECT_EQ(shown().find("fuse.ourofs label rw,"), 0U) << shown();
  EXPECT_EQ(flags() & (ST_NOSUID | ST_NODEV), unsigned{ST_NOSUID});
  EXPECT_EQ(read_file("/sys/class/bdi/" + device_of_mount(place_.mount()) + "/read_ahead_kb"),
            "64\n");
  place_.unmount(place_.mount());
}

TEST_F(MountCommand, RemountsReadOnlyAndBack) {
  ASSERT_EQ(mount("allow_other").exit, kExitOk);
  EXPECT_TRUE(can_create());
  Output output = run({"mount", "-o", "remount,ro", place_.mount()});
  EXPECT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_FALSE(can_create());
  EXPECT_EQ(errno, EROFS);
  EXPECT_NE(flags() & ST_RDONLY, 0U);
  output = run({"mount", "-o", "remount,rw,noexec", place_.mount()});
  EXPECT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_TRUE(can_create());
  EXPECT_NE(flags() & ST_NOEXEC, 0U);
  EXPECT_EQ(shown().find("fuse.ourofs source:"), 0U) << shown();
  place_.unmount(place_.mount());
}

TEST_F(MountCommand, RefusesWhatItDoesNotKnow) {
  Output output = mount("strictatime");
  EXPECT_EQ(output.exit, (Exit{1, 0}));
  EXPECT_NE(output.text.find("unknown option 'strictatime'"), std::string::npos) << output.text;
  output = mount("ro", "source:/no/such/directory");
  EXPECT_EQ(output.exit, (Exit{32, 0}));
  EXPECT_NE(output.text.find("'/no/such/directory': No such file or directory"), std::string::npos)
      << output.text;
  EXPECT_FALSE(is_mountpoint(place_.mount()));
}

TEST_F(MountCommand, FakeMountsNothing) {
  const Output output = run({"mount", "-f", "-t", "fuse.ourofs", place_.source(), place_.mount()});
  EXPECT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_FALSE(is_mountpoint(place_.mount()));
}

TEST_F(MountCommand, MountsAsAnotherUser) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  ASSERT_EQ(::chown(place_.source().c_str(), kPlainUid, kPlainUid), 0);
  ASSERT_EQ(::chown(place_.mount().c_str(), kPlainUid, kPlainUid), 0);
  const std::string user = ::getpwuid(kPlainUid)->pw_name;
  const Output output = mount("setuid=" + user + ",nodev,nosuid");
  ASSERT_EQ(output.exit, kExitOk) << output.text;
  EXPECT_NE(shown().find("user_id=" + std::to_string(kPlainUid)), std::string::npos) << shown();
  const std::string daemon = "/proc/" + std::to_string(processes_named("ourofs").at(0)) + "/status";
  EXPECT_NE(read_file(daemon).find("\nUid:\t" + std::to_string(kPlainUid) + "\t"),
            std::string::npos);
  place_.unmount(place_.mount());
}

}  // namespace
}  // namespace ouro::testing
