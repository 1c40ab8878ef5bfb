#include "passthrough/set_id.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

constexpr uid_t kUid = 1001;
constexpr gid_t kGid = 1002;
constexpr gid_t kMemberOf = 1234;

// A process that is really that caller, with a supplementary group; it ends with the object.
class RealCaller {
 public:
  // Runs `work` as the caller, in a process of its own, and then stays until the end.
  explicit RealCaller(const std::function<void()>& work = [] {}) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    int leave[2];
    EXPECT_EQ(::pipe2(leave, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(leave[1]);
      char byte = 0;
      const bool is_caller = ::setgroups(1, &kMemberOf) == 0 &&
                             ::setresgid(kGid, kGid, kGid) == 0 &&
                             ::setresuid(kUid, kUid, kUid) == 0;
      if (is_caller) work();
      if (is_caller && ::write(ready[1], &byte, 1) == 1) (void)!::read(leave[0], &byte, 1);
      ::_exit(0);
    }
    leave_.reset(leave[1]);
    ::close(leave[0]);
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the caller could not be made";
    ::close(ready[0]);
  }
  RealCaller(const RealCaller&) = delete;
  RealCaller& operator=(const RealCaller&) = delete;
  ~RealCaller() {
    leave_.reset();
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  }

  [[nodiscard]] Caller caller() const {
    return {.uid = kUid, .gid = kGid, .pid = pid_, .extra_group = {}};
  }

 private:
  loop::UniqueFd leave_;
  pid_t pid_ = -1;
};

class SetIdTest : public ::testing::Test {
 protected:
  void SetUp() override { OURO_NEEDS_ROOT(); }

  // A file of `mode` and `group` that everybody may write to by the returned descriptor.
  [[nodiscard]] loop::UniqueFd make_file(mode_t mode, gid_t group) const {
    const std::string path = dir_ / "file";
    std::filesystem::remove(path);
    loop::UniqueFd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    EXPECT_EQ(::fchown(fd.get(), kUid, group), 0);
    EXPECT_EQ(::fchmod(fd.get(), mode), 0);
    return fd;
  }
  static mode_t mode_of_fd(const loop::UniqueFd& fd) {
    struct ::stat stat {};
    EXPECT_EQ(::fstat(fd.get(), &stat), 0);
    return stat.st_mode & 07777U;
  }

  const testing::TempDir dir_;
};

TEST_F(SetIdTest, NobodyToKillForIsTheDaemonItself) {
  const auto fd = make_file(06777, 0);
  EXPECT_FALSE(killing_credentials(std::nullopt, fd.get()));
}

TEST_F(SetIdTest, RootWithoutTheCapabilityStaysRoot) {
  const auto fd = make_file(06777, 0);
  EXPECT_EQ(killing_credentials(Caller{}, fd.get()), Credentials::without_fsetid());
}

TEST_F(SetIdTest, RootKeepsTheBitsOnlyIfItHasTheCapability) {
  const Caller self{.uid = 0, .gid = 0, .pid = ::getpid(), .extra_group = {}};
  const RealCaller without([] {});
  const Caller poor{.uid = 0, .gid = 0, .pid = without.caller().pid, .extra_group = {}};
  const Caller unknown{.uid = 0, .gid = 0, .pid = 0, .extra_group = {}};
  for (const auto choose : {unflagged_killing_credentials, chown_credentials, touch_credentials}) {
    const auto with_bits = make_file(02644, 5);
    EXPECT_EQ(choose(self, with_bits.get()), std::nullopt);
    EXPECT_EQ(choose(poor, with_bits.get()), Credentials::without_fsetid());
    EXPECT_EQ(choose(unknown, with_bits.get()), Credentials::without_fsetid());
    EXPECT_EQ(choose(poor, make_file(0644, 5).get()), std::nullopt);
    EXPECT_EQ(choose(std::nullopt, with_bits.get()), std::nullopt);
  }
}

TEST_F(SetIdTest, CapabilitiesOfAnotherUserNamespaceAreNone) {
  EXPECT_TRUE(has_fsetid(::getpid()));
  const RealCaller in_its_own([] { EXPECT_EQ(::unshare(CLONE_NEWUSER), 0); });
  const std::string status = "/proc/" + std::to_string(in_its_own.caller().pid) + "/status";
  std::ifstream text(status);
  std::string all{std::istreambuf_iterator<char>(text), {}};
  EXPECT_NE(all.find("CapEff:\t"), std::string::npos) << all;
  EXPECT_EQ(all.find("CapEff:\t0000000000000000"), std::string::npos) << all;
  EXPECT_FALSE(has_fsetid(in_its_own.caller().pid));
}

TEST_F(SetIdTest, TheGroupIsLookedUpOnlyWhereItDecides) {
  const RealCaller real;
  const Credentials plain = Credentials::owner(real.caller());
  Credentials member = plain;
  member.extra_group = kMemberOf;
  EXPECT_EQ(killing_credentials(real.caller(), make_file(02644, kMemberOf).get()), member);
  EXPECT_EQ(killing_credentials(real.caller(), make_file(06604, kMemberOf).get()), member);
  EXPECT_EQ(killing_credentials(real.caller(), make_file(02755, kMemberOf).get()), plain);
  EXPECT_EQ(killing_credentials(real.caller(), make_file(0644, kMemberOf).get()), plain);
  EXPECT_EQ(killing_credentials(real.caller(), make_file(02644, kGid).get()), plain);
  EXPECT_EQ(killing_credentials(real.caller(), make_file(02644, 77).get()), plain);
}

TEST(CallerOf, IsWhoTheTaskIs) {
  const Caller us = caller_of(::getpid());
  EXPECT_EQ(us.uid, ::geteuid());
  EXPECT_EQ(us.gid, ::getegid());
  for (const pid_t unknown : {pid_t{0}, pid_t{0x7fffffff}}) {
    EXPECT_EQ(caller_of(unknown).uid, 65534U);
    EXPECT_EQ(caller_of(unknown).gid, 65534U);
  }
}

TEST_F(SetIdTest, WhoCannotBeAskedIsNoMember) {
  Caller gone;
  {
    const RealCaller real;
    gone = real.caller();
  }
  const Credentials plain = Credentials::owner(gone);
  EXPECT_EQ(killing_credentials(gone, make_file(02644, kMemberOf).get()), plain);
  gone.pid = 0;  // in another pid namespace
  EXPECT_EQ(killing_credentials(gone, make_file(02644, kMemberOf).get()), plain);
  EXPECT_EQ(killing_credentials(gone, -1), plain);
}

using Change = std::function<int(int)>;
using Chooser = std::optional<Credentials> (*)(const SetIdKiller&, int);

// What a change leaves of the mode has to be the same natively and under our credentials, for
// every mode and every group that the file may have.
class SetIdOracle : public SetIdTest {
 protected:
  void compare(Chooser credentials_for, const Change& change) {
    for (const mode_t mode : {06777U, 04755U, 02755U, 02644U, 06644U, 06604U, 02710U}) {
      for (const gid_t group : {kMemberOf, kGid, gid_t{77}, gid_t{0}}) {
        auto fd = make_file(mode, group);
        const RealCaller native([&] { (void)change(fd.get()); });
        const mode_t expected = mode_of_fd(fd);
        fd = make_file(mode, group);
        {
          const auto credentials = credentials_for(native.caller(), fd.get());
          const ScopedCredentials scope(test_identity(), credentials ? &*credentials : nullptr);
          EXPECT_EQ(change(fd.get()), 0);
        }
        EXPECT_EQ(mode_of_fd(fd), expected) << std::oct << mode << " group " << std::dec << group;
      }
    }
  }
};

TEST_F(SetIdOracle, Write) {
  compare(killing_credentials, [](int fd) { return ::pwrite(fd, "x", 1, 0) == 1 ? 0 : -1; });
}

TEST_F(SetIdOracle, WriteOfWhomTheRequestSaysNothing) {
  compare(unflagged_killing_credentials,
          [](int fd) { return ::pwrite(fd, "x", 1, 0) == 1 ? 0 : -1; });
}

TEST_F(SetIdOracle, Truncate) {
  compare(killing_credentials, [](int fd) { return ::ftruncate(fd, 5); });
}

TEST_F(SetIdOracle, Fallocate) {
  compare(killing_credentials, [](int fd) { return ::fallocate(fd, 0, 0, 4096); });
}

TEST_F(SetIdOracle, ChangeOfTheGroup) {
  compare(chown_credentials, [](int fd) { return ::fchown(fd, static_cast<uid_t>(-1), kGid); });
}

TEST_F(SetIdOracle, ChangeOfTheOwnerToHimself) {
  compare(chown_credentials, [](int fd) { return ::fchown(fd, kUid, static_cast<gid_t>(-1)); });
}

}  // namespace
}  // namespace ouro::passthrough
