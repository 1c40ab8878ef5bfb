// Extended attributes: values, lists without what is for root only, and what an ACL does to a mode.
#include <linux/limits.h>
#include <sys/xattr.h>

#include <algorithm>

#include "tests/unit/passthrough/acl_value.hpp"
#include "tests/unit/passthrough/real_caller.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeXattrTest : public TreeTest {
 protected:
  // The names that `caller` sees, NUL shown as comma.
  std::string list(NodeId node, uid_t uid) {
    std::string out(4096, '.');
    const auto bytes = tree().listxattr(executor(), node, caller(uid), bytes_of(out));
    EXPECT_TRUE(bytes);
    out.resize(bytes.value_or(0));
    std::replace(out.begin(), out.end(), '\0', ',');
    return out;
  }
  static Caller caller(uid_t uid, gid_t gid = 1001) {
    // Root's capabilities are looked up.
    return {.uid = uid, .gid = gid, .pid = uid == 0 ? ::getpid() : 0, .extra_group = {}};
  }
};
OURO_BOTH_EXECUTORS(TreeXattrTest);

TEST_P(TreeXattrTest, XattrRoundTrip) {
  write_file(path("file"), "");
  const NodeId node = look("file");
  const std::string value("with\0zero", 9);
  const auto keep = SetIdKiller();
  ASSERT_TRUE(tree().setxattr(executor(), node, "user.a", bytes_of(value), 0, keep));
  ASSERT_TRUE(tree().setxattr(executor(), node, "user.empty", {}, 0, keep));
  std::string out(100, '.');
  EXPECT_EQ(tree().getxattr(executor(), node, "user.a", {}).value_or(0), 9U);
  EXPECT_EQ(tree().getxattr(executor(), node, "user.a", bytes_of(out)).value_or(0), 9U);
  EXPECT_EQ(out.substr(0, 10), value + ".");
  EXPECT_EQ(tree().getxattr(executor(), node, "user.empty", bytes_of(out)).value_or(1), 0U);
  EXPECT_EQ(list(node, 1001), "user.a,user.empty,");
  ASSERT_TRUE(tree().removexattr(executor(), node, "user.a"));
  EXPECT_EQ(list(node, 1001), "user.empty,");
}

TEST_P(TreeXattrTest, XattrErrors) {
  write_file(path("file"), "");
  const NodeId node = look("file");
  const auto set = [&](const char* name, const std::string& value, int flags) {
    return error_of(tree().setxattr(executor(), node, name, bytes_of(value), flags, SetIdKiller()));
  };
  std::string out(100, '.');
  EXPECT_EQ(set("user.a", "1", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(set("user.a", "1", XATTR_CREATE), 0);
  EXPECT_EQ(set("user.a", "1", XATTR_CREATE), EEXIST);
  EXPECT_EQ(set("user.a", "1", 64), EINVAL);
  EXPECT_EQ(set("nonsense", "1", 0), EOPNOTSUPP);
  EXPECT_EQ(set(("user." + std::string(256, 'x')).c_str(), "1", 0), ERANGE);
  EXPECT_EQ(set("user.big", std::string(65537, 'x'), 0), E2BIG);
  EXPECT_EQ(error_of(tree().getxattr(executor(), node, "user.b", bytes_of(out))), ENODATA);
  EXPECT_EQ(error_of(tree().removexattr(executor(), node, "user.b")), ENODATA);
  std::string small(2, '.');
  EXPECT_EQ(set("user.a", "123", 0), 0);
  EXPECT_EQ(error_of(tree().getxattr(executor(), node, "user.a", bytes_of(small))), ERANGE);
  EXPECT_EQ(error_of(tree().listxattr(executor(), node, caller(0), bytes_of(small))), ERANGE);
  EXPECT_EQ(error_of(tree().listxattr(executor(), node, caller(5), bytes_of(small))), ERANGE);
  EXPECT_EQ(error_of(tree().getxattr(executor(), 99, "user.a", {})), ESTALE);
  EXPECT_EQ(error_of(tree().listxattr(executor(), 99, caller(0), {})), ESTALE);
  EXPECT_EQ(error_of(tree().removexattr(executor(), 99, "user.a")), ESTALE);
  EXPECT_EQ(error_of(tree().setxattr(executor(), 99, "user.a", {}, 0, SetIdKiller())), ESTALE);
}

TEST_P(TreeXattrTest, TrustedNamesAreForRootOnly) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "");
  const NodeId node = look("file");
  for (const char* name : {"trusted.a", "user.b", "trusted.c", "user.d", "trusted.e"}) {
    ASSERT_EQ(::setxattr(path("file").c_str(), name, "1", 1, 0), 0);
  }
  EXPECT_EQ(list(node, 1001), "user.b,user.d,");
  const std::string all = list(node, 0);
  EXPECT_NE(all.find("trusted.a,"), std::string::npos);
  // The size that is told is the size that is needed.
  EXPECT_EQ(tree().listxattr(executor(), node, caller(1001), {}).value_or(0), 14U);
  EXPECT_EQ(tree().listxattr(executor(), node, caller(0), {}).value_or(0), all.size());
  std::string out(14, '.');
  EXPECT_EQ(tree().listxattr(executor(), node, caller(1001), bytes_of(out)).value_or(0), 14U);
  EXPECT_EQ(error_of(tree().listxattr(executor(), node, caller(1001), bytes_of(out).first(13))),
            ERANGE);
}

TEST_P(TreeXattrTest, TrustedNamesAreNotForARootWithoutTheCapability) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "");
  const NodeId node = look("file");
  for (const char* name : {"trusted.a", "user.b"}) {
    ASSERT_EQ(::setxattr(path("file").c_str(), name, "1", 1, 0), 0);
  }
  const RealCaller without;
  const Caller poor{.uid = 0, .gid = 0, .pid = without.caller().pid, .extra_group = {}};
  EXPECT_EQ(tree().listxattr(executor(), node, poor, {}).value_or(0), std::size_t{7});
}

TEST_P(TreeXattrTest, OnlyTrustedNamesIsAnEmptyList) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "");
  ASSERT_EQ(::setxattr(path("file").c_str(), "trusted.a", "1", 1, 0), 0);
  EXPECT_EQ(list(look("file"), 1001), "");
  EXPECT_EQ(tree().listxattr(executor(), look("file"), caller(1001), {}).value_or(7), 0U);
}

TEST_P(TreeXattrTest, ALongListOfNames) {
  OURO_NEEDS_ROOT();
  // On /dev/shm: ext4 has no room for so many.
  const testing::TempDir shm("/dev/shm");
  write_file(shm / "file", "");
  std::size_t expected = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string number = std::to_string(i);
    const std::string visible = "user." + std::string(100, 'v') + number;
    const std::string hidden = "trusted." + std::string(100, 'h') + number;
    if (::setxattr((shm / "file").c_str(), visible.c_str(), "", 0, 0) != 0) {
      ASSERT_EQ(errno, EOPNOTSUPP);
      GTEST_SKIP() << "/dev/shm has no user.* attributes";
    }
    ASSERT_EQ(::setxattr((shm / "file").c_str(), hidden.c_str(), "", 0, 0), 0);
    expected += visible.size() + 1;
  }
  const auto shm_tree = make_tree(shm.path());
  const NodeId node = shm_tree->lookup(executor(), kRootNode, "file").value().node;
  EXPECT_EQ(shm_tree->listxattr(executor(), node, caller(5), {}).value_or(0), expected);
  std::string out(expected, '.');
  ASSERT_EQ(shm_tree->listxattr(executor(), node, caller(5), bytes_of(out)).value_or(0), expected);
  EXPECT_EQ(out.find("trusted"), std::string::npos);
  EXPECT_EQ(out.back(), '\0');
}

TEST_P(TreeXattrTest, AListThatIsTooLongHasASize) {
  OURO_NEEDS_ROOT();
  const testing::TempDir shm("/dev/shm");
  write_file(shm / "file", "");
  const std::string stem = "trusted." + std::string(240, 'n');
  std::size_t bytes = 0;
  for (int i = 100; i < 400; ++i) {
    const std::string name = stem + std::to_string(i);
    ASSERT_EQ(::setxattr((shm / "file").c_str(), name.c_str(), "", 0, 0), 0);
    bytes += name.size() + 1;
  }
  ASSERT_GT(bytes, std::size_t{XATTR_LIST_MAX});
  const auto shm_tree = make_tree(shm.path());
  const NodeId node = shm_tree->lookup(executor(), kRootNode, "file").value().node;
  EXPECT_EQ(shm_tree->listxattr(executor(), node, caller(5), {}).value_or(0), bytes);
  std::string out(XATTR_LIST_MAX, '.');
  EXPECT_EQ(error_of(shm_tree->listxattr(executor(), node, caller(5), bytes_of(out))), ERANGE);
}

TEST_P(TreeXattrTest, AnAclTakesTheSetgidBitAwayWhereItMust) {
  OURO_NEEDS_ROOT();
  const std::string value = acl_value(
      {{ACL_USER_OBJ, 7}, {ACL_USER, 7, 1009}, {ACL_GROUP_OBJ, 7}, {ACL_MASK, 7}, {ACL_OTHER, 5}});
  // Group 0 as well: it is the daemon's own, and must not count as membership of the caller.
  for (const gid_t group : {gid_t{1002}, gid_t{0}}) {
    for (const SetIdKiller& setgid : {SetIdKiller(), SetIdKiller({1001, 1001, 0, {}})}) {
      write_file(path("file"), "");
      ASSERT_EQ(::chown(path("file").c_str(), 1001, group), 0);
      ASSERT_EQ(::chmod(path("file").c_str(), 02771), 0);
      ASSERT_TRUE(tree().setxattr(executor(), look("file"), "system.posix_acl_access",
                                  bytes_of(value), 0, setgid));
      EXPECT_EQ(mode_of(path("file")), setgid ? 0775U : 02775U) << group;
    }
  }
}

}  // namespace
}  // namespace ouro::passthrough
