// Opening files: which descriptors a handle has, and what is never opened; and what is done by a
// handle.
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <array>

#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

constexpr int kExecFlag = 0x20;  // FMODE_EXEC, which the kernel's client sends for execve()

class TreeFilesTest : public TreeTest {
 protected:
  int open_error(const std::string& name, int flags) {
    const std::size_t before = open_descriptors();
    const NodeId node = look(name);
    const int error = error_of(tree().open(executor(), node, flags, std::nullopt));
    tree().forget(node, 1);
    if (error != 0) {
      EXPECT_EQ(open_descriptors(), before) << name;
    }
    return error;
  }
};
OURO_BOTH_EXECUTORS(TreeFilesTest);

// --- open ---

TEST_P(TreeFilesTest, AHandleHasThePlainDescriptorOfTheFile) {
  write_file(path("file"), "12345");
  const FileHandleId handle = open("file", O_RDWR);
  std::string out(5, '.');
  EXPECT_EQ(::pread(buffered_fd(handle), out.data(), 5, 0), 5);
  EXPECT_EQ(out, "12345");
  EXPECT_EQ(buffered_flags(handle) & O_ACCMODE, O_RDWR);
  EXPECT_EQ(tree().open_count(), 1U);
  tree().release(handle);
  EXPECT_EQ(error_of(tree().file(handle)), EBADF);
  EXPECT_EQ(tree().open_count(), 0U);
}

TEST_P(TreeFilesTest, TheClientsFlagsBelongToItsRequests) {
  write_file(path("file"), "12345");
  const FileHandleId handle = open("file", O_WRONLY | O_APPEND | O_DIRECT | O_NONBLOCK | O_NOCTTY |
                                               O_NOFOLLOW | O_EXCL | O_DSYNC | kExecFlag);
  const int flags = buffered_flags(handle);
  EXPECT_EQ(flags & (O_APPEND | O_DIRECT | O_NONBLOCK), 0);
  EXPECT_EQ(flags & O_ACCMODE, O_WRONLY);
  EXPECT_EQ(flags & O_DSYNC, O_DSYNC);
  EXPECT_EQ(::fcntl(buffered_fd(handle), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

// chattr +a, for as long as it lives.
class AppendOnly {
 public:
  explicit AppendOnly(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), set_(change(FS_APPEND_FL)) {}
  ~AppendOnly() { static_cast<void>(change(0)); }
  AppendOnly(const AppendOnly&) = delete;
  AppendOnly& operator=(const AppendOnly&) = delete;
  [[nodiscard]] bool set() const { return set_; }

 private:
  [[nodiscard]] bool change(int flag) const {
    int flags = 0;
    if (::ioctl(fd_.get(), FS_IOC_GETFLAGS, &flags) != 0) return false;
    flags = (flags & ~FS_APPEND_FL) | flag;
    return ::ioctl(fd_.get(), FS_IOC_SETFLAGS, &flags) == 0;
  }

  const loop::UniqueFd fd_;
  const bool set_;
};

TEST_P(TreeFilesTest, AnAppendOnlyFileIsOpenedForAppending) {
  write_file(path("file"), "text");
  const AppendOnly file(path("file"));
  if (!file.set()) GTEST_SKIP() << "no append-only files here: errno " << errno;
  for (const int flags : {O_WRONLY, O_RDWR}) {
    EXPECT_EQ(error_of(tree().open(executor(), look("file"), flags, std::nullopt)), EPERM);
    const FileHandleId handle = open("file", flags | O_APPEND);
    EXPECT_EQ(buffered_flags(handle) & (O_APPEND | O_ACCMODE), O_APPEND | flags);
    EXPECT_TRUE(tree().file(handle).value()->appends_only());
    // Also the one that is opened later, whatever is done to its flags.
    const int direct = tree().file(handle).value()->direct_fd().value();
    tree().file(handle).value()->set_access_time(AccessTime::kStays);
    EXPECT_EQ(::fcntl(direct, F_GETFL) & (O_APPEND | O_DIRECT | O_NOATIME | O_ACCMODE),
              O_APPEND | O_DIRECT | O_NOATIME | flags);
    const FileHandleId asked = open("file", flags | O_APPEND | O_DIRECT);
    const int opened = tree().file(asked).value()->opened_fd();
    EXPECT_EQ(::fcntl(opened, F_GETFL) & (O_APPEND | O_DIRECT), O_APPEND | O_DIRECT);
  }
  const FileHandleId reader = open("file", O_RDONLY | O_APPEND);
  EXPECT_FALSE(tree().file(reader).value()->appends_only());
}

TEST_P(TreeFilesTest, ODirectOpensBothDescriptors) {
  write_file(path("file"), "12345");
  const std::size_t before = open_descriptors();
  const NodeId node = look("file");
  const FileHandleId handle =
      tree().open(executor(), node, O_RDWR | O_DIRECT, std::nullopt).value();
  EXPECT_EQ(open_descriptors(), before + 3) << "the node's, and two of the handle";
  const auto file = tree().file(handle).value();
  EXPECT_EQ(::fcntl(file->buffered_fd(), F_GETFL) & O_DIRECT, 0);
  EXPECT_EQ(::fcntl(file->direct_fd().value(), F_GETFL) & O_DIRECT, O_DIRECT);
  EXPECT_EQ(open_descriptors(), before + 3);
}

TEST_P(TreeFilesTest, OnlyRegularFilesAreOpened) {
  std::filesystem::create_directory(path("dir"));
  std::filesystem::create_symlink("/etc/passwd", path("link"));
  // Nobody has the other end: to open it would wait for ever.
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0666), 0);
  ASSERT_EQ(::mknod(path("socket").c_str(), S_IFSOCK | 0666, 0), 0);
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_RDONLY | O_DIRECT}) {
    EXPECT_EQ(open_error("fifo", flags), ENXIO);
    EXPECT_EQ(open_error("socket", flags), ENXIO);
    EXPECT_EQ(open_error("link", flags), ELOOP);
    EXPECT_EQ(open_error("dir", flags), EISDIR);
  }
  EXPECT_EQ(error_of(tree().open(executor(), 99, O_RDONLY, std::nullopt)), ESTALE);
  EXPECT_EQ(tree().open_count(), 0U);
  OURO_NEEDS_ROOT();
  ASSERT_EQ(::mknod(path("null").c_str(), S_IFCHR | 0666, ::makedev(1, 3)), 0);
  EXPECT_EQ(open_error("null", O_RDWR), ENXIO);
}

TEST_P(TreeFilesTest, AnUnlinkedFileGoesOnWorking) {
  write_file(path("file"), "12345");
  const NodeId node = look("file");
  const FileHandleId handle = open("file", O_RDWR);
  std::filesystem::remove(path("file"));
  EXPECT_EQ(::pwrite(buffered_fd(handle), "6", 1, 5), 1);
  // It can be opened once more, by its node.
  const auto again = tree().open(executor(), node, O_RDONLY, std::nullopt);
  ASSERT_TRUE(again);
  std::string out(6, '.');
  EXPECT_EQ(::pread(buffered_fd(*again), out.data(), 6, 0), 6);
  EXPECT_EQ(out, "123456");
}

TEST_P(TreeFilesTest, AnOpenFileOutlivesItsNode) {
  write_file(path("file"), "12345");
  const FileHandleId handle = open("file", O_RDONLY);
  tree().forget(look("file"), 2);
  EXPECT_EQ(tree().inode_count(), 1U);
  char byte = 0;
  EXPECT_EQ(::pread(buffered_fd(handle), &byte, 1, 4), 1);
  EXPECT_EQ(byte, '5');
}

TEST_P(TreeFilesTest, OTruncAndSetIdBits) {
  OURO_NEEDS_ROOT();
  for (const SetIdKiller& kills : {SetIdKiller(), SetIdKiller({1001, 1001, 0, {}})}) {
    write_file(path("file"), "12345");
    ASSERT_EQ(::chmod(path("file").c_str(), 06777), 0);
    ASSERT_TRUE(tree().open(executor(), look("file"), O_WRONLY | O_TRUNC, kills));
    EXPECT_EQ(content_of(path("file")), "");
    EXPECT_EQ(mode_of(path("file")), kills ? 0777U : 06777U);
  }
}

TEST_P(TreeFilesTest, OTruncTruncatesOnceEvenWithODirect) {
  write_file(path("file"), "12345");
  ASSERT_TRUE(tree().open(executor(), look("file"), O_RDWR | O_TRUNC | O_DIRECT, std::nullopt));
  EXPECT_EQ(content_of(path("file")), "");
}

TEST_P(TreeFilesTest, WriteBackReadsWhatIsOpenedForWriting) {
  write_file(path("file"), "12345");
  EXPECT_EQ(buffered_flags(open("file", O_WRONLY)) & O_ACCMODE, O_WRONLY);
  use_options({.write_back = WriteBack::kOn});
  EXPECT_EQ(buffered_flags(open("file", O_WRONLY | O_APPEND)) & (O_ACCMODE | O_APPEND), O_RDWR);
  EXPECT_EQ(buffered_flags(open("file", O_RDONLY)) & O_ACCMODE, O_RDONLY);
}

TEST_P(TreeFilesTest, OtherUsersFilesAreOpenedForThem) {
  OURO_NEEDS_ROOT();
  write_file(path("file"), "12345", 0600);
  ASSERT_EQ(::chown(path("file").c_str(), 1001, 1001), 0);
  // The kernel's client has checked: the daemon's own rights are enough.
  EXPECT_EQ(open_error("file", O_RDWR), 0);
}

// --- by handle ---

TEST_P(TreeFilesTest, WrongHandles) {
  for (const FileHandleId wrong : {FileHandleId{0}, FileHandleId{1}, ~FileHandleId{0}}) {
    EXPECT_EQ(error_of(tree().file(wrong)), EBADF);
    EXPECT_EQ(error_of(tree().flush(executor(), wrong)), EBADF);
    EXPECT_EQ(error_of(tree().fallocate(executor(), wrong, 0, 0, 1, std::nullopt)), EBADF);
    EXPECT_EQ(error_of(tree().lseek(executor(), wrong, 0, SEEK_DATA)), EBADF);
    EXPECT_EQ(error_of(tree().copy_file_range(executor(), wrong, 0, wrong, 0, 1, 0, std::nullopt)),
              EBADF);
    tree().release(wrong);
  }
}

TEST_P(TreeFilesTest, AReleasedHandleIsNeverValidAgain) {
  write_file(path("file"), "");
  const FileHandleId first = open("file", O_RDONLY);
  tree().release(first);
  for (int i = 0; i < 50; ++i) {
    const FileHandleId next = open("file", O_RDONLY);
    EXPECT_NE(next, first);
    tree().release(next);
  }
  EXPECT_EQ(error_of(tree().flush(executor(), first)), EBADF);
}

TEST_P(TreeFilesTest, FlushKeepsTheHandleAndItsDescriptors) {
  write_file(path("file"), "12345");
  const FileHandleId handle = open("file", O_RDWR);
  const std::size_t before = open_descriptors();
  EXPECT_EQ(error_of(tree().flush(executor(), handle)), 0);
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::pwrite(buffered_fd(handle), "x", 1, 0), 1);
}

TEST_P(TreeFilesTest, FlushNeedsNoDescriptorToSucceed) {
  write_file(path("file"), "12345");
  const FileHandleId handle = open("file", O_RDWR);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{3, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const int refused = ::dup(buffered_fd(handle));
  const int flushed = error_of(tree().flush(executor(), handle));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(refused, -1);
  EXPECT_EQ(flushed, 0);
}

TEST_P(TreeFilesTest, Fallocate) {
  write_file(path("file"), std::string(8192, 'x'));
  const FileHandleId handle = open("file", O_RDWR);
  const auto allocate = [&](int mode, std::int64_t offset, std::int64_t length) {
    return error_of(tree().fallocate(executor(), handle, mode, offset, length, std::nullopt));
  };
  EXPECT_EQ(allocate(0, 0, 10'000), 0);
  EXPECT_EQ(stat_of(path("file")).st_size, 10'000);
  EXPECT_EQ(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_EQ(content_of(path("file")).substr(4090, 10), std::string(6, '\0') + "xxxx");
  EXPECT_EQ(allocate(0, 0, 0), EINVAL);
  EXPECT_EQ(allocate(0, -1, 5), EINVAL);
  EXPECT_EQ(allocate(0x4000, 0, 5), EOPNOTSUPP);
  EXPECT_EQ(error_of(tree().fallocate(executor(), open("file", O_RDONLY), 0, 0, 5, std::nullopt)),
            EBADF);
}

TEST_P(TreeFilesTest, FallocateAndSetIdBits) {
  OURO_NEEDS_ROOT();
  for (const SetIdKiller& kills : {SetIdKiller(), SetIdKiller({1001, 1001, 0, {}})}) {
    write_file(path("file"), "");
    const FileHandleId handle = open("file", O_RDWR);
    ASSERT_EQ(::chmod(path("file").c_str(), 06777), 0);
    ASSERT_TRUE(tree().fallocate(executor(), handle, 0, 0, 4096, kills));
    EXPECT_EQ(mode_of(path("file")), kills ? 0777U : 06777U);
  }
}

TEST_P(TreeFilesTest, LseekFindsDataAndHoles) {
  write_file(path("file"), "");
  const FileHandleId handle = open("file", O_RDWR);
  constexpr std::int64_t kData = 1 << 20;
  ASSERT_EQ(::pwrite(buffered_fd(handle), "data", 4, kData), 4);
  const auto seek = [&](std::int64_t offset, int whence) {
    return tree().lseek(executor(), handle, offset, whence);
  };
  EXPECT_EQ(seek(0, SEEK_DATA).value_or(-1), kData);
  EXPECT_EQ(seek(0, SEEK_HOLE).value_or(-1), 0);
  EXPECT_EQ(seek(kData, SEEK_HOLE).value_or(-1), kData + 4);
  EXPECT_EQ(error_of(seek(kData + 4, SEEK_DATA)), ENXIO);
  for (const int whence : {SEEK_SET, SEEK_CUR, SEEK_END, 77}) {
    EXPECT_EQ(error_of(seek(0, whence)), EINVAL);
  }
}

TEST_P(TreeFilesTest, CopyFileRange) {
  write_file(path("in"), "0123456789");
  write_file(path("out"), "abcdef");
  const FileHandleId in = open("in", O_RDONLY);
  const FileHandleId out = open("out", O_RDWR | O_APPEND);
  const auto copy = [&](FileHandleId from, std::int64_t from_at, FileHandleId to,
                        std::int64_t to_at, std::size_t length, unsigned flags = 0) {
    return tree().copy_file_range(executor(), from, from_at, to, to_at, length, flags,
                                  std::nullopt);
  };
  EXPECT_EQ(copy(in, 2, out, 1, 3).value_or(0), 3U);
  EXPECT_EQ(content_of(path("out")), "a234ef");
  EXPECT_EQ(copy(in, 8, out, 6, 100).value_or(0), 2U) << "short at the end of the file";
  EXPECT_EQ(content_of(path("out")), "a234ef89");
  EXPECT_EQ(copy(in, 10, out, 0, 100).value_or(9), 0U);
  EXPECT_EQ(error_of(copy(out, 0, in, 0, 1)), EBADF) << "not open for writing";
  EXPECT_EQ(error_of(copy(out, 0, out, 1, 4)), EINVAL) << "overlapping";
  EXPECT_EQ(error_of(copy(in, 0, out, 0, 1, 1)), EINVAL);
}

TEST_P(TreeFilesTest, CopyFileRangeAndSetIdBits) {
  OURO_NEEDS_ROOT();
  write_file(path("in"), "0123456789");
  const FileHandleId in = open("in", O_RDONLY);
  for (const SetIdKiller& kills : {SetIdKiller(), SetIdKiller({1001, 1001, 0, {}})}) {
    write_file(path("out"), "");
    const FileHandleId out = open("out", O_RDWR);
    ASSERT_EQ(::chmod(path("out").c_str(), 06777), 0);
    ASSERT_EQ(tree().copy_file_range(executor(), in, 0, out, 0, 10, 0, kills).value_or(0), 10U);
    EXPECT_EQ(mode_of(path("out")), kills ? 0777U : 06777U);
  }
}

// --- ioctl ---

TEST_P(TreeFilesTest, IoctlOfTheAllowList) {
  write_file(path("file"), "");
  const int fd = buffered_fd(open("file", O_RDWR));
  int native = 0;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &native) != 0) {
    GTEST_SKIP() << "the file system of /tmp has no flags: errno " << errno;
  }
  const auto call = [&](unsigned command, std::span<const std::byte> in, std::span<std::byte> out) {
    return Tree::ioctl(executor(), fd, command, in, out);
  };
  int flags = -1;
  EXPECT_EQ(call(FS_IOC_GETFLAGS, {}, std::as_writable_bytes(std::span(&flags, 1))).value_or(0),
            sizeof flags);
  EXPECT_EQ(flags, native);
  flags |= FS_NODUMP_FL;
  EXPECT_EQ(call(FS_IOC_SETFLAGS, std::as_bytes(std::span(&flags, 1)), {}).value_or(9), 0U);
  ASSERT_EQ(::ioctl(fd, FS_IOC_GETFLAGS, &native), 0);
  EXPECT_EQ(native & FS_NODUMP_FL, FS_NODUMP_FL);
  fsxattr attributes{};
  EXPECT_EQ(
      call(FS_IOC_FSGETXATTR, {}, std::as_writable_bytes(std::span(&attributes, 1))).value_or(0),
      sizeof attributes);
  EXPECT_EQ(attributes.fsx_xflags & FS_XFLAG_NODUMP, unsigned{FS_XFLAG_NODUMP});
  attributes.fsx_xflags &= ~unsigned{FS_XFLAG_NODUMP};
  EXPECT_EQ(call(FS_IOC_FSSETXATTR, std::as_bytes(std::span(&attributes, 1)), {}).value_or(9), 0U);
  ASSERT_EQ(::ioctl(fd, FS_IOC_GETFLAGS, &native), 0);
  EXPECT_EQ(native & FS_NODUMP_FL, 0);
}

TEST_P(TreeFilesTest, IoctlRefusesEverythingElse) {
  write_file(path("file"), "");
  const int fd = buffered_fd(open("file", O_RDWR));
  std::array<std::byte, 64> room{};
  for (const unsigned command : {unsigned{FS_IOC_GETVERSION}, unsigned{FIFREEZE}, unsigned{FICLONE},
                                 unsigned{FITRIM}, unsigned{FIONREAD}, 0U, ~0U}) {
    const std::uint64_t calls = executor().inline_calls();
    EXPECT_EQ(error_of(Tree::ioctl(executor(), fd, command, room, room)), ENOTTY) << command;
    EXPECT_EQ(executor().inline_calls(), calls) << "no system call was made";
  }
  EXPECT_EQ(error_of(Tree::ioctl(executor(), fd, FS_IOC_GETFLAGS, {}, std::span(room).first(3))),
            EINVAL);
  EXPECT_EQ(error_of(Tree::ioctl(executor(), fd, FS_IOC_SETFLAGS, std::span(room).first(3), {})),
            EINVAL);
  EXPECT_EQ(error_of(Tree::ioctl(executor(), fd, FS_IOC_FSSETXATTR, std::span(room).first(27), {})),
            EINVAL);
}

}  // namespace
}  // namespace ouro::passthrough
