#include "passthrough/credentials.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

constexpr std::uint64_t bit(int capability) {
  return std::uint64_t{1} << capability;
}

// Everything of the calling thread that credentials change.
struct ThreadState {
  uid_t uid = fs_uid();
  gid_t gid = fs_gid();
  std::uint64_t capabilities = effective_capabilities();
  std::string permitted = thread_status("CapPrm");
  std::string groups = thread_status("Groups");
  friend bool operator==(const ThreadState&, const ThreadState&) = default;
};

Caller caller(uid_t uid, gid_t gid, std::optional<gid_t> extra = {}) {
  return {.uid = uid, .gid = gid, .extra_group = extra};
}

TEST(ProcessIdentity, OfRootSwitches) {
  OURO_NEEDS_ROOT();
  const ProcessIdentity& identity = test_identity();
  EXPECT_TRUE(identity.switches());
  EXPECT_EQ(identity.uid(), 0U);
  EXPECT_EQ(identity.gid(), 0U);
  EXPECT_EQ(identity.capabilities(), effective_capabilities());
  EXPECT_EQ(thread_status("Groups").find_first_not_of(" \t"), std::string::npos)
      << "a daemon's own groups would be everybody's";
}

TEST(ProcessIdentity, OfAPlainUserDoesNotSwitch) {
  OURO_NEEDS_ROOT();
  const AsPlainUser plain;
  const ProcessIdentity identity = ProcessIdentity::take().value();
  EXPECT_FALSE(identity.switches());
  EXPECT_EQ(identity.uid(), AsPlainUser::kUid);
  EXPECT_EQ(identity.gid(), AsPlainUser::kUid);
  const ThreadState before;
  const Credentials credentials = Credentials::owner(caller(1001, 1002));
  const ScopedCredentials scope(identity, &credentials);
  EXPECT_EQ(ThreadState(), before) << "nothing changes";
}

class ScopedCredentialsTest : public ::testing::Test {
 protected:
  void SetUp() override { OURO_NEEDS_ROOT(); }
  const ProcessIdentity& identity_ = test_identity();
};

TEST_F(ScopedCredentialsTest, NullIsNoChange) {
  const ThreadState before;
  const ScopedCredentials scope(identity_, nullptr);
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, OwnerHasTheIdsAndMayPassDirectories) {
  const ThreadState before;
  {
    const Credentials credentials = Credentials::owner(caller(1001, 1002));
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_EQ(fs_uid(), 1001U);
    EXPECT_EQ(fs_gid(), 1002U);
    const std::uint64_t now = effective_capabilities();
    EXPECT_NE(now & bit(CAP_DAC_OVERRIDE), 0U);
    for (const int capability :
         {CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_LINUX_IMMUTABLE, CAP_SYS_RESOURCE}) {
      EXPECT_EQ(now & bit(capability), 0U) << capability;
    }
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, CallerHasNothingElse) {
  const ThreadState before;
  {
    const Credentials credentials = Credentials::caller(caller(1001, 1002));
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_EQ(fs_uid(), 1001U);
    for (const int capability : {CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_DAC_OVERRIDE,
                                 CAP_DAC_READ_SEARCH, CAP_SYS_RESOURCE}) {
      EXPECT_EQ(effective_capabilities() & bit(capability), 0U) << capability;
    }
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, PayerHasTheIdsAndEverythingButTheSpaceOfRoot) {
  const ThreadState before;
  {
    const Credentials credentials = *Credentials::payer(1001, 1002);
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_EQ(fs_uid(), 1001U);
    EXPECT_EQ(fs_gid(), 1002U);
    EXPECT_EQ(effective_capabilities(), before.capabilities & ~bit(CAP_SYS_RESOURCE));
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, RootAsACallerStaysRoot) {
  const ThreadState before;
  for (const auto make : {&Credentials::owner, &Credentials::caller}) {
    const Credentials credentials = make(caller(0, 1002));
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_EQ(fs_uid(), 0U);
    EXPECT_EQ(fs_gid(), 1002U);
    EXPECT_EQ(effective_capabilities(), before.capabilities);
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, TheExtraGroupIsTheOnlyOne) {
  const ThreadState before;
  {
    const Credentials credentials = Credentials::caller(caller(1001, 1002, 1234));
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_NE(thread_status("Groups").find("1234"), std::string::npos);
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, GroupsThatAreGivenAreAllOfThem) {
  const ThreadState before;
  {
    const Credentials credentials = Credentials::owner(caller(1001, 1002));
    const std::vector<gid_t> groups{1234, 4321};
    const ScopedCredentials scope(identity_, &credentials, groups);
    EXPECT_NE(thread_status("Groups").find("1234 4321"), std::string::npos);
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, WithoutFsetidLacksThatAndHasTheGroup) {
  const ThreadState before;
  for (const gid_t group : {gid_t{0}, gid_t{1002}}) {
    const Credentials credentials = Credentials::without_fsetid(group);
    const ScopedCredentials scope(identity_, &credentials);
    EXPECT_EQ(effective_capabilities(), before.capabilities & ~bit(CAP_FSETID));
    EXPECT_EQ(fs_uid(), 0U);
    EXPECT_EQ(fs_gid(), group);
  }
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, EndsWithAnException) {
  const ThreadState before;
  const Credentials credentials = Credentials::caller(caller(1001, 1002, 1234));
  EXPECT_THROW(
      {
        const ScopedCredentials scope(identity_, &credentials);
        throw std::runtime_error("between set and restore");
      },
      std::runtime_error);
  EXPECT_EQ(ThreadState(), before);
}

TEST_F(ScopedCredentialsTest, OtherThreadsStayWhatTheyAre) {
  const Credentials credentials = Credentials::owner(caller(1001, 1002, 1234));
  const ScopedCredentials scope(identity_, &credentials);
  // Natively a new thread inherits; one that runs already must not notice: ask the kernel about
  // the process' first thread from another one that has its own identity.
  std::uint64_t others = 0;
  std::thread thread([&] {
    const Credentials mine = Credentials::owner(caller(2001, 2002));
    const ScopedCredentials inner(identity_, &mine);
    others = fs_uid();
  });
  thread.join();
  EXPECT_EQ(others, 2001U);
  EXPECT_EQ(fs_uid(), 1001U);
  EXPECT_EQ(::getuid(), 0U);
  EXPECT_EQ(::geteuid(), 0U);
}

TEST_F(ScopedCredentialsTest, FilesBelongToTheOwner) {
  const testing::TempDir dir;
  {
    const Credentials credentials = Credentials::owner(caller(1001, 1002));
    const ScopedCredentials scope(identity_, &credentials);
    write_file(dir / "file", "x");
  }
  EXPECT_EQ(stat_of(dir / "file").st_uid, 1001U);
  EXPECT_EQ(stat_of(dir / "file").st_gid, 1002U);
  const Credentials stranger = Credentials::caller(caller(1003, 1004));
  ASSERT_EQ(::chmod((dir / "file").c_str(), 0600), 0);
  const ScopedCredentials scope(identity_, &stranger);
  EXPECT_EQ(::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST(Credentials, AreOrderedByEveryPart) {
  const Credentials base = Credentials::owner(caller(1, 2));
  EXPECT_EQ(base, Credentials::owner(caller(1, 2)));
  EXPECT_NE(base, Credentials::owner(caller(2, 2)));
  EXPECT_NE(base, Credentials::owner(caller(1, 3)));
  EXPECT_NE(base, Credentials::owner(caller(1, 2, 3)));
  EXPECT_NE(base, Credentials::caller(caller(1, 2)));
}

}  // namespace
}  // namespace ouro::passthrough
