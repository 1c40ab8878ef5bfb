#include "passthrough/set_id.hpp"

#include <fcntl.h>

#include <functional>
#include <optional>
#include <string>

#include "tests/unit/passthrough/real_caller.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

constexpr uid_t kUid = RealCaller::kUid;
constexpr gid_t kGid = RealCaller::kGid;
constexpr gid_t kMemberOf = RealCaller::kMemberOf;

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
