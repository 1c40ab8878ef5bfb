#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <string>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

namespace stdfs = std::filesystem;
using namespace std::string_literals;

class AttributesTest : public ServedTree {
 protected:
  [[nodiscard]] Answer set(std::uint64_t node, fuse_setattr_in in, std::uint32_t valid) {
    in.valid = valid;
    return call(requests::setattr(node, in));
  }
  // A file with some content, looked up.
  [[nodiscard]] std::uint64_t make_file(const std::string& content = "content") {
    backing_.put_file("file", content);
    return look_up("file");
  }
  [[nodiscard]] fuse_attr_out expected(const std::string& name = "file") const {
    fuse_attr_out out{};
    out.attr_valid = 1;
    out.attr = attributes_of(path(name));
    return out;
  }
  // The reply says what stat() says after it.
  void expect_current(const Answer& answer, const std::string& name = "file") const {
    EXPECT_TRUE(same_bytes(answer.as<fuse_attr_out>(), expected(name)));
  }
  [[nodiscard]] std::uint32_t mode(const std::string& name = "file") const {
    return attributes_of(path(name)).mode & 07777;
  }
};

TEST_P(AttributesTest, Getattr) {
  const std::uint64_t node = make_file();
  expect_current(call(requests::getattr(node)));
  expect_current(call(requests::getattr()), "");
  EXPECT_EQ(error_of(requests::getattr(999)), ESTALE);
}

TEST_P(AttributesTest, GetattrHasItsTimeout) {
  connection_.cache.attribute_timeout_ns = 3'000'000'007;
  const auto out = call(requests::getattr()).as<fuse_attr_out>();
  EXPECT_EQ(out.attr_valid, 3U);
  EXPECT_EQ(out.attr_valid_nsec, 7U);
}

TEST_P(AttributesTest, GetattrOfAnUnlinkedFile) {
  const std::uint64_t node = make_file();
  stdfs::remove(path("file"));
  fuse_getattr_in in{};
  in.getattr_flags = FUSE_GETATTR_FH;
  in.fh = 4711;  // not needed
  const auto out = call(Message(FUSE_GETATTR, node).with(in)).as<fuse_attr_out>();
  EXPECT_EQ(out.attr.nlink, 0U);
  EXPECT_EQ(out.attr.size, 7U);
}

TEST_P(AttributesTest, Statx) {
  const std::uint64_t node = make_file();
  wire::StatxIn in{};
  in.sx_mask = STATX_BASIC_STATS | STATX_BTIME;
  const auto out = call(Message(wire::kStatx, node).with(in)).as<wire::StatxOut>();
  struct ::statx stat {};
  ASSERT_EQ(::statx(AT_FDCWD, path("file").c_str(), 0, in.sx_mask, &stat), 0);
  EXPECT_EQ(out.attr_valid, 1U);
  EXPECT_EQ(out.flags, 0U);
  EXPECT_EQ(out.stat.mask & in.sx_mask, stat.stx_mask & in.sx_mask);
  EXPECT_EQ(out.stat.ino, stat.stx_ino);
  EXPECT_EQ(out.stat.size, 7U);
  EXPECT_EQ(out.stat.mode, stat.stx_mode);
  EXPECT_EQ(out.stat.btime.tv_sec, stat.stx_btime.tv_sec);
  EXPECT_EQ(out.stat.btime.tv_nsec, stat.stx_btime.tv_nsec);
  EXPECT_EQ(out.stat.mtime.tv_nsec, stat.stx_mtime.tv_nsec);
  EXPECT_EQ(error_of(Message(wire::kStatx, 999).with(in)), ESTALE);
}

// --- setattr, bit by bit -------------------------------------------------------------------------

TEST_P(AttributesTest, SetMode) {
  const std::uint64_t node = make_file();
  fuse_setattr_in in{};
  in.mode = S_IFREG | 04751;
  const Answer answer = set(node, in, FATTR_MODE);
  expect_current(answer);
  EXPECT_EQ(mode(), 04751U);
}

TEST_P(AttributesTest, SetModeOfASymlinkIsNotSupported) {
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  fuse_setattr_in in{};
  in.mode = 0777;
  EXPECT_EQ(set(look_up("link"), in, FATTR_MODE).error(), EOPNOTSUPP);
}

TEST_P(AttributesTest, SetOwner) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to give files away";
  const std::uint64_t node = make_file();
  fuse_setattr_in in{};
  in.uid = 1234;
  in.gid = 5678;
  EXPECT_EQ(set(node, in, FATTR_UID).as<fuse_attr_out>().attr.uid, 1234U);
  EXPECT_EQ(attributes_of(path("file")).gid, ::getegid());
  EXPECT_EQ(set(node, in, FATTR_GID).as<fuse_attr_out>().attr.gid, 5678U);
  in.uid = 1;
  in.gid = 2;
  expect_current(set(node, in, FATTR_UID | FATTR_GID));
  EXPECT_EQ(attributes_of(path("file")).uid, 1U);
}

TEST_P(AttributesTest, SetSize) {
  const std::uint64_t node = make_file("content");
  fuse_setattr_in in{};
  in.size = 3;
  expect_current(set(node, in, FATTR_SIZE));
  EXPECT_EQ(backing_.content("file"), "con");
  in.size = 5;
  EXPECT_EQ(set(node, in, FATTR_SIZE).as<fuse_attr_out>().attr.size, 5U);
  EXPECT_EQ(backing_.content("file"), "con\0\0"s);
  in.size = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(set(node, in, FATTR_SIZE).error(), EINVAL);
  EXPECT_EQ(set(requests::kRoot, in, FATTR_SIZE).error(), EISDIR);
}

TEST_P(AttributesTest, SetSizeByHandle) {
  backing_.put_file("file", "content");
  const std::uint64_t node = look_up("file");
  fuse_setattr_in in{};
  in.size = 2;
  in.fh = call(requests::open(node, O_RDWR)).as<fuse_open_out>().fh;
  EXPECT_EQ(set(node, in, FATTR_SIZE | FATTR_FH).error(), 0);
  EXPECT_EQ(backing_.content("file"), "co");
  // A handle of another file is none.
  backing_.put_file("other", "content");
  EXPECT_EQ(set(look_up("other"), in, FATTR_SIZE | FATTR_FH).error(), 0);
  EXPECT_EQ(backing_.content("other"), "co");
  in.fh = 4711;
  in.size = 1;
  EXPECT_EQ(set(node, in, FATTR_SIZE | FATTR_FH).error(), 0);
  EXPECT_EQ(backing_.content("file"), "c");
}

TEST_P(AttributesTest, SetTimes) {
  const std::uint64_t node = make_file();
  fuse_setattr_in in{};
  in.atime = 1'000'000'000;
  in.atimensec = 123'456'789;
  in.mtime = static_cast<std::uint64_t>(-2);
  in.mtimensec = 999'999'999;
  const std::uint32_t mtime_before = attributes_of(path("file")).mtimensec;
  expect_current(set(node, in, FATTR_ATIME));
  EXPECT_EQ(attributes_of(path("file")).atime, 1'000'000'000U);
  EXPECT_EQ(attributes_of(path("file")).atimensec, 123'456'789U);
  EXPECT_EQ(attributes_of(path("file")).mtimensec, mtime_before);
  expect_current(set(node, in, FATTR_MTIME));
  EXPECT_EQ(attributes_of(path("file")).mtime, static_cast<std::uint64_t>(-2));
  EXPECT_EQ(attributes_of(path("file")).mtimensec, 999'999'999U);
}

TEST_P(AttributesTest, SetTimesToNow) {
  const std::uint64_t node = make_file();
  fuse_setattr_in in{};
  in.atime = in.mtime = 1;
  EXPECT_EQ(set(node, in, FATTR_ATIME | FATTR_MTIME).error(), 0);
  const auto now = static_cast<std::uint64_t>(::time(nullptr));
  EXPECT_EQ(set(node, in, FATTR_ATIME | FATTR_ATIME_NOW).error(), 0);
  EXPECT_GE(attributes_of(path("file")).atime + 1, now);
  EXPECT_EQ(attributes_of(path("file")).mtime, 1U);
  EXPECT_EQ(set(node, in, FATTR_MTIME | FATTR_MTIME_NOW).error(), 0);
  EXPECT_GE(attributes_of(path("file")).mtime + 1, now);
}

TEST_P(AttributesTest, SetTimesOfASymlinkAreItsOwn) {
  ASSERT_EQ(::symlink("file", path("link").c_str()), 0);
  (void)make_file();
  fuse_setattr_in in{};
  in.mtime = 42;
  EXPECT_EQ(set(look_up("link"), in, FATTR_MTIME).as<fuse_attr_out>().attr.mtime, 42U);
  EXPECT_NE(attributes_of(path("file")).mtime, 42U);
}

TEST_P(AttributesTest, SetNothing) {
  const std::uint64_t node = make_file();
  expect_current(set(node, {}, 0));
  // The kernel's own time of a write-back; there is no way to set it.
  EXPECT_EQ(set(node, {}, FATTR_CTIME | FATTR_LOCKOWNER).error(), 0);
  EXPECT_EQ(set(999, {}, 0).error(), ESTALE);
}

TEST_P(AttributesTest, ATruncationRemovesSetIdBitsWhereAsked) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, whose writes keep the bits";
  const std::uint64_t node = make_file();
  ASSERT_EQ(::chmod(path("file").c_str(), 06755), 0);
  fuse_setattr_in in{};
  in.size = 3;
  EXPECT_EQ(set(node, in, FATTR_SIZE).error(), 0);
  EXPECT_EQ(mode(), 06755U);
  in.size = 2;
  EXPECT_EQ(set(node, in, FATTR_SIZE | FATTR_KILL_SUIDGID).error(), 0);
  EXPECT_EQ(mode(), 0755U);
}

// --- access and statfs ---------------------------------------------------------------------------

TEST_P(AttributesTest, Access) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to act as somebody else";
  const std::uint64_t node = make_file();
  ASSERT_EQ(::chown(path("file").c_str(), 1000, 1001), 0);
  ASSERT_EQ(::chmod(path("file").c_str(), 0640), 0);
  const auto access = [&](uid_t uid, gid_t gid, std::uint32_t mask) {
    return error_of(Message(FUSE_ACCESS, node).with(fuse_access_in{mask, 0}).from(uid, gid));
  };
  EXPECT_EQ(access(1000, 1000, R_OK | W_OK), 0);
  EXPECT_EQ(access(1000, 1000, X_OK), EACCES);
  EXPECT_EQ(access(1002, 1001, R_OK), 0);
  EXPECT_EQ(access(1002, 1001, W_OK), EACCES);
  EXPECT_EQ(access(1002, 1002, R_OK), EACCES);
  EXPECT_EQ(access(1002, 1002, F_OK), 0);
  EXPECT_EQ(access(0, 0, R_OK | W_OK), 0);
  EXPECT_EQ(error_of(Message(FUSE_ACCESS, 999).with(fuse_access_in{R_OK, 0})), ESTALE);
}

TEST_P(AttributesTest, Statfs) {
  const auto out = call(Message(FUSE_STATFS)).as<fuse_statfs_out>();
  struct ::statvfs stat {};
  ASSERT_EQ(::statvfs(path("").c_str(), &stat), 0);
  EXPECT_EQ(out.st.blocks, stat.f_blocks);
  EXPECT_EQ(out.st.files, stat.f_files);
  EXPECT_EQ(out.st.bsize, stat.f_bsize);
  EXPECT_EQ(out.st.frsize, stat.f_frsize);
  EXPECT_EQ(out.st.namelen, stat.f_namemax);
  EXPECT_GT(out.st.bfree, 0U);
  EXPECT_GE(out.st.bfree, out.st.bavail);
  EXPECT_EQ(out.st.padding, 0U);
  EXPECT_EQ(error_of(Message(FUSE_STATFS, 999)), ESTALE);
  // Without an SQE form, it must not hold up a loop that is to be held up by nothing.
  finish();
  EXPECT_EQ(serving_->server_counters().pooled, GetParam().metadata == Metadata::kInline ? 0U : 2U);
}

// --- extended attributes -------------------------------------------------------------------------

class XattrTest : public AttributesTest {
 protected:
  void SetUp() override {
    backing_.put_file("file");
    if (::setxattr(path("file").c_str(), "user.probe", "", 0, 0) != 0) {
      GTEST_SKIP() << "no user xattrs in " << path("") << ": errno " << errno;
    }
    ASSERT_EQ(::removexattr(path("file").c_str(), "user.probe"), 0);
    node_ = look_up("file");
  }
  [[nodiscard]] Answer get(std::string_view name, std::uint32_t bytes) {
    return call(Message(FUSE_GETXATTR, node_).with(fuse_getxattr_in{bytes, 0}).name(name));
  }
  [[nodiscard]] Answer list(std::uint32_t bytes, uid_t uid = 0) {
    const auto message = Message(FUSE_LISTXATTR, node_).with(fuse_getxattr_in{bytes, 0});
    return call(Message(message).from(uid, uid, ::getpid()));
  }
  [[nodiscard]] int put(std::string_view name, std::string_view value, std::uint32_t flags = 0) {
    fuse_setxattr_in in{};
    in.size = static_cast<std::uint32_t>(value.size());
    in.flags = flags;
    return error_of(Message(FUSE_SETXATTR, node_).with(in).name(name).text(value));
  }
  [[nodiscard]] std::string value_of(const char* name) const {
    std::string value(4096, 0);
    const ssize_t bytes = ::getxattr(path("file").c_str(), name, value.data(), value.size());
    if (bytes < 0) return "errno " + std::to_string(errno);
    value.resize(static_cast<std::size_t>(bytes));
    return value;
  }

  std::uint64_t node_ = 0;
};

TEST_P(XattrTest, SetAndGet) {
  EXPECT_EQ(put("user.name", "va\0lue"s), 0);
  EXPECT_EQ(value_of("user.name"), "va\0lue"s);
  EXPECT_EQ(get("user.name", 0).as<fuse_getxattr_out>().size, 6U);
  EXPECT_EQ(get("user.name", 6).text(), "va\0lue"s);
  EXPECT_EQ(get("user.name", 100).text(), "va\0lue"s);
  EXPECT_EQ(get("user.name", 5).error(), ERANGE);
  EXPECT_EQ(get("user.name", 0xffffffff).text(), "va\0lue"s) << "no more than fits is read";
  EXPECT_EQ(get("user.missing", 100).error(), ENODATA);
  EXPECT_EQ(get("user." + std::string(251, 'x'), 100).error(), ERANGE);
  EXPECT_EQ(get("nonsense", 100).error(), EOPNOTSUPP);
}

TEST_P(XattrTest, AnEmptyValue) {
  EXPECT_EQ(put("user.empty", ""), 0);
  const Answer size = get("user.empty", 0);
  EXPECT_EQ(size.as<fuse_getxattr_out>().size, 0U);
  const Answer value = get("user.empty", 10);
  EXPECT_EQ(value.error(), 0);
  EXPECT_TRUE(value.payload.empty());
}

TEST_P(XattrTest, SetWithFlags) {
  EXPECT_EQ(put("user.name", "1", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(put("user.name", "1", XATTR_CREATE), 0);
  EXPECT_EQ(put("user.name", "2", XATTR_CREATE), EEXIST);
  EXPECT_EQ(put("user.name", "2", XATTR_REPLACE), 0);
  EXPECT_EQ(value_of("user.name"), "2");
  EXPECT_EQ(put("user.name", "3", 0x80), EINVAL);
}

TEST_P(XattrTest, SetWhoseSizeIsNotThatOfItsValue) {
  const auto with_size = [&](std::uint32_t size) {
    fuse_setxattr_in in{};
    in.size = size;
    return error_of(Message(FUSE_SETXATTR, node_).with(in).name("user.name").text("value"));
  };
  EXPECT_EQ(with_size(6), EINVAL);
  EXPECT_EQ(with_size(0xffffffff), EINVAL);
  EXPECT_EQ(value_of("user.name"), "errno " + std::to_string(ENODATA));
  EXPECT_EQ(with_size(3), 0);
  EXPECT_EQ(value_of("user.name"), "val");
  fuse_setxattr_in in{};
  EXPECT_EQ(error_of(Message(FUSE_SETXATTR, node_).with(in).text("user.without-an-end")), EINVAL);
}

TEST_P(XattrTest, ACapabilityComesAfterWhatTheClientHasOfTheFile) {
  EXPECT_EQ(put("user.name", "value"), 0);
  EXPECT_TRUE(kernel().notifications().empty());
  EXPECT_EQ(put("security.capability", "no capability"), EINVAL);
  const auto told = kernel().notifications();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told.front().header.error, FUSE_NOTIFY_INVAL_INODE);
  const auto out = told.front().as<fuse_notify_inval_inode_out>();
  EXPECT_EQ(out.ino, node_);
  EXPECT_EQ(out.off, 0);
  EXPECT_EQ(out.len, 0) << "to the end";
}

TEST_P(XattrTest, List) {
  EXPECT_EQ(list(0).error(), 0);
  ASSERT_EQ(put("user.a", "1"), 0);
  ASSERT_EQ(put("user.b", "2"), 0);
  std::string native(1000, 0);
  const ssize_t bytes = ::listxattr(path("file").c_str(), native.data(), native.size());
  ASSERT_GE(bytes, 14);
  native.resize(static_cast<std::size_t>(bytes));
  EXPECT_EQ(list(0).as<fuse_getxattr_out>().size, native.size());
  EXPECT_EQ(list(1000).text(), native);
  EXPECT_EQ(list(3).error(), ERANGE);
}

TEST_P(XattrTest, TrustedNamesAreForRoot) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to set them";
  ASSERT_EQ(put("user.a", "1"), 0);
  ASSERT_EQ(put("trusted.b", "2"), 0);
  EXPECT_NE(list(1000).text().find("trusted.b"), std::string::npos);
  const std::string seen = list(1000, 1000).text();
  EXPECT_EQ(seen.find("trusted."), std::string::npos);
  EXPECT_NE(seen.find("user.a"), std::string::npos);
  EXPECT_EQ(list(0, 1000).as<fuse_getxattr_out>().size, seen.size());
}

TEST_P(XattrTest, Remove) {
  ASSERT_EQ(put("user.name", "value"), 0);
  const auto remove = [&] { return error_of(Message(FUSE_REMOVEXATTR, node_).name("user.name")); };
  EXPECT_EQ(remove(), 0);
  EXPECT_EQ(remove(), ENODATA);
  EXPECT_EQ(value_of("user.name"), "errno " + std::to_string(ENODATA));
  EXPECT_EQ(error_of(Message(FUSE_REMOVEXATTR, node_).text("user.without-an-end")), EINVAL);
}

TEST_P(XattrTest, NodesThatAreNone) {
  node_ = 999;
  EXPECT_EQ(get("user.name", 10).error(), ESTALE);
  EXPECT_EQ(list(10).error(), ESTALE);
  EXPECT_EQ(put("user.name", "value"), ESTALE);
  EXPECT_EQ(error_of(Message(FUSE_REMOVEXATTR, node_).name("user.name")), ESTALE);
}

// A kernel before 5.14 sends the shorter request.
class OldSetxattrTest : public XattrTest {
 protected:
  void SetUp() override {
    connection_.negotiated.flags = 0;
    XattrTest::SetUp();
  }
};

TEST_P(OldSetxattrTest, IsReadAsItIs) {
  const auto put_old = [&](std::uint32_t size, std::string_view value) {
    return error_of(Message(FUSE_SETXATTR, node_)
                        .with(size)
                        .with(std::uint32_t{XATTR_CREATE})
                        .name("user.name")
                        .text(value));
  };
  EXPECT_EQ(put_old(5, "valu"), EINVAL);
  EXPECT_EQ(put_old(5, "value"), 0);
  EXPECT_EQ(value_of("user.name"), "value");
  EXPECT_EQ(put_old(5, "value"), EEXIST);
}

OURO_IN_ALL_MODES(AttributesTest);
OURO_IN_ALL_MODES(XattrTest);
OURO_IN_ALL_MODES(OldSetxattrTest);

}  // namespace
}  // namespace ouro::fs
