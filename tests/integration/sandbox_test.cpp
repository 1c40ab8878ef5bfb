// What a running mount could still do, as the kernel tells of each of its threads: the capabilities
// that are published and no others, no new privileges, a filter of its system calls, no tracing,
// and no descriptor that a program executed from it would have.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

using std::filesystem::path;

// Written down a second time: to change it is to change what is promised.
constexpr unsigned kPublished[] = {CAP_CHOWN,     CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                                   CAP_FSETID,    CAP_SETGID,       CAP_SETUID,          CAP_MKNOD,
                                   CAP_SYS_ADMIN, CAP_SETFCAP,      CAP_LINUX_IMMUTABLE};

std::string published_set() {
  std::uint64_t set = 0;
  for (const unsigned capability : kPublished) set |= std::uint64_t{1} << capability;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(set));
  return text;
}

path process_directory(pid_t pid) {
  return "/proc/" + std::to_string(pid);
}

// The lines "name: value" of a status file.
std::map<std::string, std::string> status_of(const path& directory) {
  std::map<std::string, std::string> status;
  std::istringstream lines(read_file(directory / "status"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(":\t");
    if (colon != std::string::npos) status[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return status;
}

std::vector<path> entries(const path& directory) {
  std::vector<path> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) found.push_back(entry);
  return found;
}

// Requests of every route, so that all threads there may be have begun.
void use(const Mounted& mounted) {
  in_child(mounted.who(), [&] {
    const std::string name = mounted.path() / "file";
    make_file(name, "text");
    EXPECT_EQ(read_file(name), "text");
    EXPECT_EQ(::chmod(name.c_str(), 0600), 0);
    EXPECT_EQ(entries(mounted.path()).size(), 1U);
    EXPECT_EQ(::unlink(name.c_str()), 0);
  });
}

// Which would see calls that the sanitizer makes for itself.
std::optional<std::string> is_confined() {
  if (OURO_SANITIZED != 0) return "a program with a sanitizer has no sandbox";
  return std::nullopt;
}

class Sandbox : public ::testing::TestWithParam<Mode> {};

TEST_P(Sandbox, EveryThreadOfRootsHasGivenUpWhatItDoesNotNeed) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(is_confined());
  Mounted mounted({.options = GetParam().options()});
  use(mounted);
  const auto threads = entries(process_directory(mounted.pid()) / "task");
  EXPECT_GE(threads.size(), 1 + GetParam().loops);  // one waits for signals
  for (const path& thread : threads) {
    auto status = status_of(thread);
    for (const char* set : {"CapEff", "CapPrm", "CapBnd"}) {
      EXPECT_EQ(status[set], published_set()) << set << " of " << thread;
    }
    for (const char* set : {"CapInh", "CapAmb"}) {
      EXPECT_EQ(status[set], "0000000000000000") << set << " of " << thread;
    }
    EXPECT_EQ(status["NoNewPrivs"], "1") << thread;
    EXPECT_EQ(status["Seccomp"], "2") << thread;
    EXPECT_EQ(status["Groups"].find_first_not_of(' '), std::string::npos) << thread;
  }
  EXPECT_NE(mounted.log().find(" no_new_privs not_dumpable seccomp\n"), std::string::npos)
      << mounted.log();
}

std::string mode_name(const ::testing::TestParamInfo<Mode>& instance) {
  return instance.param.name();
}

constexpr Mode kRootNested{Who::kRoot, Backing::kRing, Metadata::kNested, 2};
constexpr Mode kRootInline{Who::kRoot, Backing::kInline, Metadata::kInline, 1};
constexpr Mode kRootKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};
constexpr Mode kUser{Who::kPlainUser, Backing::kRing, Metadata::kInline, 2};

INSTANTIATE_TEST_SUITE_P(, Sandbox, ::testing::Values(kRootNested, kRootInline, kRootKernel),
                         mode_name);

class Descriptors : public ::testing::TestWithParam<Mode> {};

TEST_P(Descriptors, NothingIsInheritedAndNothingIsPassedOn) {
  OURO_REQUIRE(can_mount_as(GetParam().who));
  const auto leak = [] {
    EXPECT_GE(::dup2(STDERR_FILENO, 17), 0);
    EXPECT_GE(::fcntl(STDERR_FILENO, F_DUPFD, 200), 0);
  };
  Mounted mounted(
      {.options = GetParam().options("auto_unmount"), .who = GetParam().who, .before_exec = leak});
  use(mounted);
  const path directory = process_directory(mounted.pid());
  const path log = std::filesystem::read_symlink(directory / "fd/2");
  const auto descriptors = entries(directory / "fd");
  EXPECT_GT(descriptors.size(), 8U);  // there was something to look at
  for (const path& descriptor : descriptors) {
    const std::string number = descriptor.filename();
    if (number.size() == 1 && number <= "2") continue;
    EXPECT_NE(std::filesystem::read_symlink(descriptor), log) << number << " is inherited";
    const std::string info = read_file(directory / "fdinfo" / number);
    const std::size_t flags = info.find("flags:\t");
    ASSERT_NE(flags, std::string::npos) << info;
    EXPECT_NE(std::stoul(info.substr(flags + 7), nullptr, 8) & O_CLOEXEC, 0U)
        << number << " -> " << std::filesystem::read_symlink(descriptor) << " is passed on";
  }
}

INSTANTIATE_TEST_SUITE_P(, Descriptors,
                         ::testing::Values(kRootNested, kRootInline, kRootKernel, kUser),
                         mode_name);

// Of a process that is dumpable, `exe` can be read by who has its identity and all of its
// capabilities; of another one only with CAP_SYS_PTRACE.
bool can_be_traced(pid_t pid) {
  std::error_code error;
  (void)std::filesystem::read_symlink(process_directory(pid) / "exe", error);
  EXPECT_TRUE(!error || error.value() == EACCES) << error.message();
  return !error;
}

void drop_tracing() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
  ASSERT_EQ(::syscall(SYS_capget, &header, sets), 0);
  for (std::uint32_t* set : {&sets[0].effective, &sets[0].permitted}) {
    *set &= ~(1U << CAP_SYS_PTRACE);
  }
  ASSERT_EQ(::syscall(SYS_capset, &header, sets), 0);
}

TEST(SandboxOfRoot, CannotBeTraced) {
  OURO_REQUIRE(has_root());
  OURO_REQUIRE(is_confined());
  Mounted mounted;
  use(mounted);
  in_child(Who::kRoot, [&] {
    drop_tracing();
    // Not executed, by which root would get everything back.
    const Process other = Process::run(Who::kRoot, [] { return ::pause(); });
    EXPECT_TRUE(eventually([&] { return can_be_traced(other.pid()); }));
    EXPECT_FALSE(can_be_traced(mounted.pid()));
  });
}

TEST(SandboxOfRoot, IsOffWhereThatWasAskedFor) {
  OURO_REQUIRE(has_root());
  Mounted mounted({.options = {"-o", "sandbox=none"}});
  use(mounted);
  auto status = status_of(process_directory(mounted.pid()));
  EXPECT_NE(status["CapEff"], published_set());
  EXPECT_EQ(status["NoNewPrivs"], "0");
  EXPECT_EQ(status["Seccomp"], "0");
  EXPECT_NE(mounted.log().find("sandbox: none, as was asked for"), std::string::npos);
}

// And ends by fusermount3, which becomes root, all the same.
TEST(SandboxOfAPlainUser, HasNoCapabilitiesNoNewPrivilegesAndAFilter) {
  OURO_REQUIRE(can_mount_as(Who::kPlainUser));
  OURO_REQUIRE(is_confined());
  for (const auto how : {Mounted::How::kTerminate, Mounted::How::kUmount}) {
    Mounted mounted({.who = Who::kPlainUser});
    use(mounted);
    const auto threads = entries(process_directory(mounted.pid()) / "task");
    EXPECT_GE(threads.size(), 2U);
    for (const path& thread : threads) {
      auto status = status_of(thread);
      for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"}) {
        EXPECT_EQ(status[set], "0000000000000000") << set;
      }
      EXPECT_EQ(status["NoNewPrivs"], "1") << thread;
      EXPECT_EQ(status["Seccomp"], "2") << thread;
    }
    EXPECT_NE(mounted.log().find("sandbox: no_new_privs seccomp\n"), std::string::npos)
        << mounted.log();
    EXPECT_EQ(mounted.end(how), kExitOk);
    EXPECT_FALSE(is_mountpoint(mounted.path()));
  }
}

}  // namespace
}  // namespace ouro::testing
