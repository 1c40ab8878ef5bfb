#include "fs/creator.hpp"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs/served_tree.hpp"
#include "tests/unit/fs/signalled_child.hpp"

namespace ouro::fs {
namespace {

constexpr uid_t kUid = 1001;
constexpr gid_t kGid = 1002;
constexpr gid_t kShared = 1234;  // the parent's group
constexpr gid_t kOther = 1235;

// A process with one supplementary group, which it has from its parent.
class Member {
 public:
  explicit Member(gid_t group) : process_((set_groups(1, &group), SIGUSR1)) {
    set_groups(0, nullptr);
  }
  [[nodiscard]] pid_t pid() const { return process_.pid(); }

 private:
  static void set_groups(std::size_t count, const gid_t* groups) {
    EXPECT_EQ(::setgroups(count, groups), 0);
  }

  const SignalledChild process_;
};

class CreatorTest : public ServedTree {
 protected:
  void SetUp() override {
    if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to act as somebody else";
    ASSERT_EQ(::chown(path("").c_str(), 0, kShared), 0);
    ASSERT_EQ(::chmod(path("").c_str(), 02777), 0);
  }
  // The mode of a file that is made with SGID by a caller who is in kGid, and whatever else the
  // process is in. SGID with group execution stays only for members of the directory's group.
  [[nodiscard]] mode_t mode_of_new(const std::string& name, const Message& message) {
    EXPECT_EQ(error_of(message), 0);
    struct ::stat stat {};
    EXPECT_EQ(::stat(path(name).c_str(), &stat), 0);
    EXPECT_EQ(stat.st_gid, kShared);
    return stat.st_mode & 07777U;
  }
  [[nodiscard]] static Message create(const std::string& name, pid_t pid) {
    return requests::create(name, O_RDWR, 02775).from(kUid, kGid, pid);
  }
};

TEST_P(CreatorTest, OnOldKernelsTheGroupIsLookedUp) {
  const Member member(kShared);
  const Member stranger(kOther);
  connection_.negotiated.flags &= ~wire::kCreateSuppGroup;
  EXPECT_EQ(mode_of_new("member", create("member", member.pid())), 02775U);
  EXPECT_EQ(mode_of_new("stranger", create("stranger", stranger.pid())), 0775U);
  EXPECT_EQ(mode_of_new("unknown", create("unknown", 0)), 0775U);
  const auto node = Message(FUSE_MKNOD)
                        .with(fuse_mknod_in{S_IFREG | 02775, 0, 0, 0})
                        .name("node")
                        .from(kUid, kGid, member.pid());
  EXPECT_EQ(mode_of_new("node", node), 02775U);
}

TEST_P(CreatorTest, OtherwiseTheRequestSaysIt) {
  const Member member(kShared);
  connection_.negotiated.flags |= wire::kCreateSuppGroup;
  EXPECT_EQ(mode_of_new("without", create("without", member.pid())), 0775U);
  EXPECT_EQ(mode_of_new("with", create("with", 0).extra_group(kShared)), 02775U);
}

OURO_IN_ALL_MODES(CreatorTest);

}  // namespace
}  // namespace ouro::fs
