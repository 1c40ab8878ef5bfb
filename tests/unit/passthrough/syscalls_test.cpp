#include "passthrough/syscalls.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "loop/uring_abi.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

// Every function, by system call and by SQE: with the ring one CQE of the right opcode proves
// which way it went, inline a counted call.
class SyscallsTest : public ::testing::TestWithParam<Metadata> {
 protected:
  SyscallsTest() { ::umask(0); }

  // Runs `call`, which is to go through the ring as `opcode`.
  loop::KernelResult by_sqe(unsigned opcode, const std::function<loop::KernelResult()>& call) {
    const auto cqes = executor_.cqes(opcode);
    const std::uint64_t inline_calls = (*executor_).inline_calls();
    const loop::KernelResult result = call();
    if (cqes) {
      EXPECT_EQ(executor_.cqes(opcode), *cqes + 1) << "opcode " << opcode;
      EXPECT_EQ((*executor_).inline_calls(), inline_calls) << "opcode " << opcode;
    } else {
      EXPECT_EQ((*executor_).inline_calls(), inline_calls + 1) << "opcode " << opcode;
    }
    return result;
  }
  // Runs `call`, which has no SQE form.
  loop::KernelResult by_call(const std::function<loop::KernelResult()>& call) {
    const std::uint64_t inline_calls = (*executor_).inline_calls();
    const loop::KernelResult result = call();
    EXPECT_EQ((*executor_).inline_calls(), inline_calls + 1);
    return result;
  }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return dir_ / name; }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  const loop::UniqueFd root_ = open_path_fd(dir_.path());
  TestExecutor executor_{GetParam()};
  Executor& at_ = *executor_;
};
OURO_BOTH_EXECUTORS(SyscallsTest);

TEST_P(SyscallsTest, Openat2) {
  open_how how{};
  how.flags = O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC;
  how.mode = 0640;
  const auto open = [&] { return sys::openat2(at_, root_.get(), "file", how); };
  const auto fd = to_fd(by_sqe(IORING_OP_OPENAT2, open));
  ASSERT_TRUE(fd);
  EXPECT_EQ(mode_of(path("file")), 0640U);
  EXPECT_EQ(by_sqe(IORING_OP_OPENAT2, open), -EEXIST);
  EXPECT_EQ(to_fd(-EEXIST).error().value(), EEXIST);
}

TEST_P(SyscallsTest, StatxAndItsFlags) {
  write_file(path("file"), "12345");
  const auto file = open_path_fd(path("file"));
  struct ::statx stat {};
  EXPECT_EQ(by_sqe(IORING_OP_STATX,
                   [&] { return sys::statx(at_, file.get(), 0, STATX_BASIC_STATS, stat); }),
            0);
  EXPECT_EQ(stat.stx_size, 5U);
  EXPECT_EQ(stat.stx_ino, stat_of(path("file")).st_ino);
  const unsigned both = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
  EXPECT_EQ(by_sqe(IORING_OP_STATX,
                   [&] { return sys::statx(at_, file.get(), both, STATX_BASIC_STATS, stat); }),
            -EINVAL);
}

TEST_P(SyscallsTest, MakingEntries) {
  EXPECT_EQ(by_sqe(IORING_OP_MKDIRAT,
                   [&] { return sys::mkdirat(at_, root_.get(), "dir", 0751, nullptr); }),
            0);
  EXPECT_EQ(mode_of(path("dir")), 0751U);
  EXPECT_EQ(
      by_call([&] { return sys::mknodat(at_, root_.get(), "fifo", S_IFIFO | 0620, 0, nullptr); }),
      0);
  EXPECT_TRUE(S_ISFIFO(stat_of(path("fifo")).st_mode));
  EXPECT_EQ(
      by_sqe(IORING_OP_SYMLINKAT,
             [&] { return sys::symlinkat(at_, "some/target", root_.get(), "link", nullptr); }),
      0);
  EXPECT_EQ(std::filesystem::read_symlink(path("link")), "some/target");
  EXPECT_EQ(by_sqe(IORING_OP_SYMLINKAT,
                   [&] { return sys::symlinkat(at_, "x", root_.get(), "link", nullptr); }),
            -EEXIST);
}

TEST_P(SyscallsTest, LinkFdLinksSymlinksThemselves) {
  write_file(path("file"), "");
  std::filesystem::create_symlink("file", path("symlink"));
  for (const char* name : {"file", "symlink"}) {
    const auto fd = open_path_fd(path(name));
    const std::string linked = std::string(name) + "-2";
    EXPECT_EQ(by_sqe(IORING_OP_LINKAT,
                     [&] { return sys::link_fd(at_, fd.get(), root_.get(), linked.c_str()); }),
              0);
    EXPECT_EQ(stat_of(path(linked)).st_ino, stat_of(path(name)).st_ino);
  }
}

TEST_P(SyscallsTest, UnlinkatAndRenameat2) {
  write_file(path("a"), "a");
  write_file(path("b"), "b");
  const auto rename = [&](unsigned flags) {
    return by_sqe(IORING_OP_RENAMEAT,
                  [&] { return sys::renameat2(at_, root_.get(), "a", root_.get(), "b", flags); });
  };
  EXPECT_EQ(rename(RENAME_NOREPLACE), -EEXIST);
  EXPECT_EQ(rename(RENAME_EXCHANGE), 0);
  EXPECT_EQ(content_of(path("a")), "b");
  EXPECT_EQ(rename(0), 0);
  EXPECT_EQ(content_of(path("b")), "b");
  const auto unlink = [&](int flags) {
    return by_sqe(IORING_OP_UNLINKAT, [&] { return sys::unlinkat(at_, root_.get(), "b", flags); });
  };
  EXPECT_EQ(unlink(AT_REMOVEDIR), -ENOTDIR);
  EXPECT_EQ(unlink(0), 0);
  EXPECT_EQ(unlink(0), -ENOENT);
}

TEST_P(SyscallsTest, Readlinkat) {
  std::filesystem::create_symlink("target", path("link"));
  const auto fd = open_path_fd(path("link"));
  std::string out(100, '.');
  EXPECT_EQ(by_call([&] { return sys::readlinkat(at_, fd.get(), bytes_of(out)); }), 6);
  EXPECT_EQ(out.substr(0, 7), "target.");
}

TEST_P(SyscallsTest, FileSizes) {
  write_file(path("file"), "12345");
  const loop::UniqueFd fd(::open(path("file").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(by_sqe(loop::abi::kOpFtruncate,
                   [&] { return sys::ftruncate(at_, fd.get(), 1'000'000, nullptr); }),
            0);
  EXPECT_EQ(stat_of(path("file")).st_size, 1'000'000);
  EXPECT_EQ(
      by_sqe(loop::abi::kOpFtruncate, [&] { return sys::ftruncate(at_, fd.get(), -1, nullptr); }),
      -EINVAL);
  EXPECT_EQ(by_sqe(IORING_OP_FALLOCATE,
                   [&] {
                     return sys::fallocate(at_, fd.get(), FALLOC_FL_KEEP_SIZE, 2'000'000, 4096,
                                           nullptr);
                   }),
            0);
  EXPECT_EQ(stat_of(path("file")).st_size, 1'000'000);
  EXPECT_GT(stat_of(path("file")).st_blocks, 0);
}

TEST_P(SyscallsTest, Fsync) {
  write_file(path("file"), "12345");
  const loop::UniqueFd fd(::open(path("file").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(by_sqe(IORING_OP_FSYNC, [&] { return sys::fsync(at_, fd.get(), 0); }), 0);
  EXPECT_EQ(
      by_sqe(IORING_OP_FSYNC, [&] { return sys::fsync(at_, fd.get(), IORING_FSYNC_DATASYNC); }), 0);
  EXPECT_EQ(by_sqe(IORING_OP_FSYNC, [&] { return sys::fsync(at_, -1, 0); }), -EBADF);
}

TEST_P(SyscallsTest, ExtendedAttributes) {
  write_file(path("file"), "");
  const auto fd = open_path_fd(path("file"));
  const std::string value = "a value";
  EXPECT_EQ(by_sqe(IORING_OP_SETXATTR,
                   [&] {
                     return sys::setxattr(at_, fd.get(), "user.one", bytes_of(value), XATTR_CREATE,
                                          nullptr);
                   }),
            0);
  EXPECT_EQ(by_sqe(IORING_OP_SETXATTR,
                   [&] {
                     return sys::setxattr(at_, fd.get(), "user.one", bytes_of(value), XATTR_CREATE,
                                          nullptr);
                   }),
            -EEXIST);
  std::string out(100, '.');
  const auto get = [&](std::span<std::byte> into) {
    return by_sqe(IORING_OP_GETXATTR,
                  [&] { return sys::getxattr(at_, fd.get(), "user.one", into); });
  };
  EXPECT_EQ(get({}), 7);
  EXPECT_EQ(get(bytes_of(out)), 7);
  EXPECT_EQ(out.substr(0, 8), "a value.");
  EXPECT_EQ(get(bytes_of(out).first(3)), -ERANGE);
  EXPECT_EQ(by_call([&] { return sys::listxattr(at_, fd.get(), bytes_of(out)); }), 9);
  EXPECT_EQ(out.substr(0, 9), std::string("user.one\0", 9));
  EXPECT_EQ(by_call([&] { return sys::removexattr(at_, fd.get(), "user.one"); }), 0);
  EXPECT_EQ(get({}), -ENODATA);
}

TEST_P(SyscallsTest, ExtendedAttributesOfASymlinkAreItsOwn) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "");
  std::filesystem::create_symlink("file", path("link"));
  const auto link = open_path_fd(path("link"));
  const std::string value = "v";
  ASSERT_EQ(sys::setxattr(at_, link.get(), "trusted.t", bytes_of(value), 0, nullptr), 0);
  EXPECT_EQ(sys::getxattr(at_, link.get(), "trusted.t", {}), 1);
  EXPECT_EQ(::getxattr(path("file").c_str(), "trusted.t", nullptr, 0), -1);
  EXPECT_EQ(::lgetxattr(path("link").c_str(), "trusted.t", nullptr, 0), 1);
  EXPECT_EQ(sys::removexattr(at_, link.get(), "trusted.t"), 0);
}

TEST_P(SyscallsTest, CredentialsDecideWhoOwnsWhatIsMade) {
  OURO_NEEDS_ROOT();
  const Credentials owner = Credentials::owner({.uid = 1001, .gid = 1002, .extra_group = {}});
  ASSERT_EQ(sys::mkdirat(at_, root_.get(), "dir", 0755, &owner), 0);
  ASSERT_EQ(sys::symlinkat(at_, "x", root_.get(), "link", &owner), 0);
  ASSERT_EQ(sys::mknodat(at_, root_.get(), "fifo", S_IFIFO | 0600, 0, &owner), 0);
  open_how how{};
  how.flags = O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC;
  ASSERT_TRUE(to_fd(sys::openat2(at_, root_.get(), "file", how, &owner)));
  for (const char* name : {"dir", "link", "fifo", "file"}) {
    EXPECT_EQ(stat_of(path(name)).st_uid, 1001U) << name;
    EXPECT_EQ(stat_of(path(name)).st_gid, 1002U) << name;
  }
  ASSERT_EQ(sys::mkdirat(at_, root_.get(), "mine", 0755, nullptr), 0);
  EXPECT_EQ(stat_of(path("mine")).st_uid, 0U);
}

TEST(ProcPath, NamesADescriptor) {
  const ProcPath path(1234567);
  EXPECT_STREQ(path.c_str(), "/proc/self/fd/1234567");
  EXPECT_STREQ(path.name(), "1234567");
  EXPECT_STREQ(ProcPath(0).name(), "0");
  EXPECT_STREQ(ProcPath(2147483647).c_str(), "/proc/self/fd/2147483647");
}

}  // namespace
}  // namespace ouro::passthrough
