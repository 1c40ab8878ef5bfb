#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

namespace stdfs = std::filesystem;
using namespace std::string_literals;

struct CreateOut {
  fuse_entry_out entry;
  fuse_open_out open;
};

class FilesTest : public ServedTree {
 protected:
  [[nodiscard]] Answer create(std::string_view name, int flags, mode_t mode = 0666,
                              mode_t umask = 022) {
    return call(requests::create(name, flags, mode, umask));
  }
  [[nodiscard]] int release(std::uint64_t handle) { return error_of(requests::release(handle)); }
};

// Flags of an open file, but for what depends on the file system of the directory.
std::uint32_t but_for_flushes(std::uint32_t open_flags) {
  return open_flags & ~std::uint32_t{FOPEN_NOFLUSH};
}

// --- open ----------------------------------------------------------------------------------------

TEST_P(FilesTest, OpenAndRelease) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  const auto first = call(requests::open(node, O_RDONLY)).as<fuse_open_out>();
  const auto second = call(requests::open(node, O_RDWR)).as<fuse_open_out>();
  EXPECT_NE(first.fh, second.fh);
  EXPECT_EQ(but_for_flushes(first.open_flags), 0U);
  EXPECT_EQ(tree_.open_count(), 2U);
  EXPECT_EQ(release(first.fh), 0);
  EXPECT_EQ(tree_.open_count(), 1U);
  EXPECT_EQ(release(first.fh), 0) << "RELEASE never fails";
  EXPECT_EQ(release(0), 0);
  EXPECT_EQ(release(~std::uint64_t{0}), 0);
  EXPECT_EQ(tree_.open_count(), 1U);
  EXPECT_EQ(release(second.fh), 0);
  EXPECT_EQ(tree_.open_count(), 0U);
  const auto third = call(requests::open(node, O_RDONLY)).as<fuse_open_out>();
  EXPECT_NE(third.fh, first.fh) << "a handle that was released never comes back";
  EXPECT_EQ(release(third.fh), 0);
}

TEST_P(FilesTest, OpenFlagsComeFromThePolicy) {
  connection_.negotiated.flags |= wire::kDirectIoAllowMmap;
  connection_.cache.file_open_flags = FOPEN_KEEP_CACHE;
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  const auto flags_of = [&](int flags) {
    return but_for_flushes(call(requests::open(node, flags)).as<fuse_open_out>().open_flags);
  };
  EXPECT_EQ(flags_of(O_RDONLY), std::uint32_t{FOPEN_KEEP_CACHE});
  const Answer direct = call(requests::open(node, O_RDONLY | O_DIRECT));
  if (direct.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  EXPECT_EQ(but_for_flushes(direct.as<fuse_open_out>().open_flags),
            std::uint32_t{FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES});
}

TEST_P(FilesTest, NoFlushWhereItWouldTellNothing) {
  struct ::statfs file_system {};
  ASSERT_EQ(::statfs(path("").c_str(), &file_system), 0);
  if (file_system.f_type != EXT4_SUPER_MAGIC && file_system.f_type != TMPFS_MAGIC) {
    GTEST_SKIP() << path("") << " is not on a file system that is known as local";
  }
  backing_.put_file("file");
  const auto out = call(requests::open(look_up("file"), O_RDWR)).as<fuse_open_out>();
  EXPECT_EQ(out.open_flags & FOPEN_NOFLUSH, unsigned{FOPEN_NOFLUSH});
}

TEST_P(FilesTest, FlushesWhereTheyUnlock) {
  connection_.negotiated.flags |= FUSE_POSIX_LOCKS;
  backing_.put_file("file");
  const auto out = call(requests::open(look_up("file"), O_RDWR)).as<fuse_open_out>();
  EXPECT_EQ(out.open_flags & FOPEN_NOFLUSH, 0U);
}

TEST_P(FilesTest, DirectWritesMoveTheTimesThatTheClientKeeps) {
  connection_.negotiated.flags |= wire::kDirectIoAllowMmap | FUSE_WRITEBACK_CACHE;
  backing_.put_file("file");
  const Answer direct = call(requests::open(look_up("file"), O_WRONLY | O_DIRECT));
  if (direct.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  EXPECT_EQ(but_for_flushes(direct.as<fuse_open_out>().open_flags), 0U);
}

TEST_P(FilesTest, DirectFilesStayMappableOnOldKernels) {
  connection_.negotiated.flags &= ~wire::kDirectIoAllowMmap;
  backing_.put_file("file");
  const Answer direct = call(requests::open(look_up("file"), O_RDONLY | O_DIRECT));
  if (direct.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  EXPECT_EQ(but_for_flushes(direct.as<fuse_open_out>().open_flags), 0U);
}

TEST_P(FilesTest, OpenTruncates) {
  backing_.put_file("file", "content");
  const std::uint64_t node = look_up("file");
  EXPECT_EQ(error_of(requests::open(node, O_WRONLY | O_TRUNC)), 0);
  EXPECT_EQ(backing_.content("file"), "");
}

TEST_P(FilesTest, ATruncatingOpenRemovesSetIdBitsWhereAsked) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, whose writes keep the bits";
  backing_.put_file("file", "content");
  ASSERT_EQ(::chmod(path("file").c_str(), 04755), 0);
  fuse_open_in in{};
  in.flags = O_WRONLY | O_TRUNC;
  in.open_flags = FUSE_OPEN_KILL_SUIDGID;
  const std::uint64_t node = look_up("file");
  EXPECT_EQ(error_of(Message(FUSE_OPEN, node).with(in)), 0);
  EXPECT_EQ(attributes_of(path("file")).mode & 07777, 0755U);
  EXPECT_EQ(dropped_attributes(), std::vector{node});
}

TEST_P(FilesTest, OnlyRegularFilesAreOpened) {
  stdfs::create_directory(path("directory"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("/etc/passwd", path("link").c_str()), 0);
  EXPECT_EQ(error_of(requests::open(look_up("directory"), O_RDONLY)), EISDIR);
  EXPECT_EQ(error_of(requests::open(look_up("fifo"), O_RDONLY)), ENXIO) << "it would block";
  EXPECT_EQ(error_of(requests::open(look_up("link"), O_RDONLY)), ELOOP);
  EXPECT_EQ(error_of(requests::open(999, O_RDONLY)), ESTALE);
  EXPECT_EQ(tree_.open_count(), 0U);
}

TEST_P(FilesTest, AnUnlinkedFileCanBeOpened) {
  backing_.put_file("file", "content");
  const std::uint64_t node = look_up("file");
  stdfs::remove(path("file"));
  const std::uint64_t handle = call(requests::open(node, O_RDONLY)).as<fuse_open_out>().fh;
  EXPECT_EQ(call(requests::read(handle, 0, 100)).text(), "content");
}

// --- create --------------------------------------------------------------------------------------

TEST_P(FilesTest, Create) {
  const auto out = create("file", O_RDWR | O_EXCL).as<CreateOut>();
  EXPECT_TRUE(same_bytes(out.entry, entry_of(path("file"), out.entry.nodeid)));
  EXPECT_EQ(out.entry.attr.mode, std::uint32_t{S_IFREG | 0644});
  EXPECT_EQ(but_for_flushes(out.open.open_flags), 0U);
  EXPECT_EQ(tree_.open_count(), 1U);
  EXPECT_EQ(tree_.inode_count(), 2U);
  EXPECT_EQ(call(requests::write(out.open.fh, 0, "written")).as<fuse_write_out>().size, 7U);
  EXPECT_EQ(call(requests::read(out.open.fh, 0, 100)).text(), "written");
  EXPECT_EQ(create("file", O_RDWR | O_EXCL).error(), EEXIST);
  EXPECT_EQ(tree_.open_count(), 1U);
  EXPECT_EQ(tree_.inode_count(), 2U);
}

TEST_P(FilesTest, CreateOfWhatIsThereOpensIt) {
  backing_.put_file("file", "content");
  const auto out = create("file", O_RDWR).as<CreateOut>();
  EXPECT_EQ(call(requests::read(out.open.fh, 0, 100)).text(), "content");
  const auto truncated = create("file", O_RDWR | O_TRUNC).as<CreateOut>();
  EXPECT_EQ(truncated.entry.nodeid, out.entry.nodeid);
  EXPECT_EQ(backing_.content("file"), "");
  kernel().send(requests::forget(out.entry.nodeid, 2));
  catch_up();
  EXPECT_EQ(tree_.inode_count(), 3U - 2) << "the handles keep the file, not its node";
}

TEST_P(FilesTest, CreateBelongsToTheCaller) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, to act as somebody else";
  stdfs::permissions(path(""), stdfs::perms::all);
  const auto out = call(requests::create("file", O_RDWR, 0600).from(1000, 1001)).as<CreateOut>();
  EXPECT_EQ(out.entry.attr.uid, 1000U);
  EXPECT_EQ(out.entry.attr.gid, 1001U);
}

TEST_P(FilesTest, AModeThatForbidsItsOwnOpen) {
  const auto out = create("file", O_RDWR, 0, 0).as<CreateOut>();
  EXPECT_EQ(out.entry.attr.mode, std::uint32_t{S_IFREG});
  EXPECT_EQ(call(requests::write(out.open.fh, 0, "x")).as<fuse_write_out>().size, 1U);
}

TEST_P(FilesTest, CreateErrors) {
  stdfs::create_directory(path("directory"));
  EXPECT_EQ(create("directory", O_RDWR).error(), ESTALE) << "the client looks it up anew";
  EXPECT_EQ(create("..", O_RDWR).error(), EINVAL);
  EXPECT_EQ(create("a/b", O_RDWR).error(), EINVAL);
  EXPECT_EQ(create(std::string(256, 'x'), O_RDWR).error(), ENAMETOOLONG);
  EXPECT_EQ(error_of(requests::create("x", O_RDWR, 0600, 0, 999)), ESTALE);
  EXPECT_EQ(error_of(Message(FUSE_CREATE).with(fuse_create_in{}).text("without-an-end")), EINVAL);
  EXPECT_EQ(tree_.open_count(), 0U);
  EXPECT_EQ(tree_.inode_count(), 1U);
}

TEST_P(FilesTest, Tmpfile) {
  fuse_create_in in{};
  in.flags = O_RDWR;
  in.mode = S_IFREG | 0600;
  const Answer answer = call(Message(FUSE_TMPFILE).with(in).name(""));
  if (answer.error() == EOPNOTSUPP) GTEST_SKIP() << "no O_TMPFILE in " << path("");
  const auto out = answer.as<CreateOut>();
  EXPECT_EQ(out.entry.attr.nlink, 0U);
  EXPECT_TRUE(stdfs::is_empty(path("")));
  EXPECT_EQ(error_of(requests::write(out.open.fh, 0, "content")), 0);
  EXPECT_EQ(error_of(Message(FUSE_LINK).with(fuse_link_in{out.entry.nodeid}).name("file")), 0);
  EXPECT_EQ(backing_.content("file"), "content");
  EXPECT_EQ(error_of(Message(FUSE_TMPFILE, 999).with(in).name("")), ESTALE);
}

// --- what is done with a handle ------------------------------------------------------------------

TEST_P(FilesTest, Flush) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  const auto flush = [&](std::uint64_t of) {
    return call(Message(FUSE_FLUSH).with(fuse_flush_in{of, 0, 0, 0}));
  };
  const Answer answer = flush(handle);
  EXPECT_EQ(answer.error(), 0);
  EXPECT_TRUE(answer.payload.empty());
  EXPECT_EQ(tree_.open_count(), 1U) << "it is not a release";
  EXPECT_EQ(flush(4711).error(), EBADF);
}

TEST_P(FilesTest, Fallocate) {
  backing_.put_file("file", "content");
  const std::uint64_t handle = open("file", O_RDWR);
  const auto allocate = [&](std::uint64_t of, std::uint64_t offset, std::uint64_t bytes,
                            std::uint32_t mode) {
    fuse_fallocate_in in{};
    in.fh = of;
    in.offset = offset;
    in.length = bytes;
    in.mode = mode;
    return error_of(Message(FUSE_FALLOCATE).with(in));
  };
  const int error = allocate(handle, 0, 8192, 0);
  if (error == EOPNOTSUPP) GTEST_SKIP() << "no fallocate() in " << path("");
  EXPECT_EQ(error, 0);
  EXPECT_EQ(stdfs::file_size(path("file")), 8192U);
  EXPECT_EQ(allocate(handle, 8192, 8192, FALLOC_FL_KEEP_SIZE), 0);
  EXPECT_EQ(stdfs::file_size(path("file")), 8192U);
  EXPECT_EQ(allocate(handle, 0, 4096, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), 0);
  EXPECT_EQ(backing_.content("file"), std::string(8192, 0));
  EXPECT_EQ(allocate(handle, 0, 4096, FALLOC_FL_PUNCH_HOLE), EOPNOTSUPP) << "as natively";
  EXPECT_EQ(allocate(handle, 0, 0, 0), EINVAL);
  EXPECT_EQ(allocate(handle, std::numeric_limits<std::uint64_t>::max(), 1, 0), EINVAL);
  EXPECT_EQ(allocate(handle, std::numeric_limits<std::int64_t>::max(), 1, 0), EFBIG);
  EXPECT_EQ(allocate(4711, 0, 1, 0), EBADF);
}

TEST_P(FilesTest, FallocateRemovesSetIdBitsForOthersThanRoot) {
  if (!backing_.identity.switches()) GTEST_SKIP() << "needs root, whose writes keep the bits";
  backing_.put_file("file", "content");
  ASSERT_EQ(::chmod(path("file").c_str(), 04777), 0);
  fuse_fallocate_in in{};
  in.fh = open("file", O_RDWR);
  in.length = 4096;
  EXPECT_EQ(error_of(Message(FUSE_FALLOCATE).with(in).from(0, 0, ::getpid())), 0);
  EXPECT_EQ(attributes_of(path("file")).mode & 07777, 04777U);
  const std::uint64_t node = look_up("file");
  EXPECT_EQ(error_of(Message(FUSE_FALLOCATE, node).with(in).from(1000, 1000)), 0);
  EXPECT_EQ(attributes_of(path("file")).mode & 07777, 0777U);
  EXPECT_EQ(dropped_attributes().back(), node);
  const std::size_t told = dropped_attributes().size();
  EXPECT_EQ(error_of(Message(FUSE_FALLOCATE, node).with(in).from(1000, 1000)), 0);
  EXPECT_EQ(dropped_attributes().size(), told) << "there is nothing to lose any more";
}

TEST_P(FilesTest, Lseek) {
  backing_.put_file("file", "data");
  ASSERT_EQ(::truncate(path("file").c_str(), 1 << 20), 0);
  const int fd = ::open(path("file").c_str(), O_RDONLY | O_CLOEXEC);
  const loop::UniqueFd native(fd);
  const std::uint64_t handle = open("file", O_RDWR);
  const auto seek = [&](std::uint64_t of, std::uint64_t offset, int whence) {
    fuse_lseek_in in{};
    in.fh = of;
    in.offset = offset;
    in.whence = static_cast<std::uint32_t>(whence);
    return call(Message(FUSE_LSEEK).with(in));
  };
  for (const int whence : {SEEK_DATA, SEEK_HOLE}) {
    EXPECT_EQ(seek(handle, 0, whence).as<fuse_lseek_out>().offset,
              static_cast<std::uint64_t>(::lseek(fd, 0, whence)));
  }
  EXPECT_EQ(seek(handle, 1 << 20, SEEK_DATA).error(), ENXIO);
  EXPECT_EQ(seek(handle, std::numeric_limits<std::uint64_t>::max(), SEEK_HOLE).error(), ENXIO);
  EXPECT_EQ(seek(handle, 0, SEEK_END).error(), EINVAL) << "that is the client's own business";
  EXPECT_EQ(seek(4711, 0, SEEK_DATA).error(), EBADF);
}

TEST_P(FilesTest, CopyFileRange) {
  backing_.put_file("from", "0123456789");
  backing_.put_file("to", "abcdef");
  fuse_copy_file_range_in in{};
  in.fh_in = open("from", O_RDONLY);
  in.off_in = 2;
  in.fh_out = open("to", O_RDWR);
  in.off_out = 3;
  in.len = 5;
  const Answer answer = call(Message(FUSE_COPY_FILE_RANGE).with(in));
  EXPECT_EQ(answer.as<fuse_write_out>().size, 5U);
  EXPECT_EQ(answer.as<fuse_write_out>().padding, 0U);
  EXPECT_EQ(backing_.content("to"), "abc23456");
  in.len = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(call(Message(FUSE_COPY_FILE_RANGE).with(in)).as<fuse_write_out>().size, 8U);
  in.off_in = 100;
  EXPECT_EQ(
      call(Message(wire::kCopyFileRange64).with(in)).as<wire::CopyFileRangeOut>().bytes_copied, 0U);
  in.off_in = 0;
  EXPECT_EQ(
      call(Message(wire::kCopyFileRange64).with(in)).as<wire::CopyFileRangeOut>().bytes_copied,
      10U);
  EXPECT_EQ(backing_.content("to"), "abc0123456789");
  in.flags = 1;
  EXPECT_EQ(error_of(Message(wire::kCopyFileRange64).with(in)), EINVAL);
  in.flags = 0;
  in.fh_in = 4711;
  EXPECT_EQ(error_of(Message(FUSE_COPY_FILE_RANGE).with(in)), EBADF);
}

TEST_P(FilesTest, WhatMayHaveChangedTimesBeforeItFailedIsAskedForAnew) {
  backing_.put_file("file", "content");
  const std::uint64_t node = look_up("file");
  fuse_copy_file_range_in copied{};
  copied.fh_in = open("file", O_RDONLY);
  copied.fh_out = open("file", O_RDWR);
  copied.nodeid_out = node;
  copied.len = 4;
  copied.off_out = 100;
  EXPECT_EQ(error_of(Message(FUSE_COPY_FILE_RANGE).with(copied)), 0);
  EXPECT_EQ(dropped_attributes(), std::vector<std::uint64_t>{});
  copied.off_out = 0;
  EXPECT_EQ(error_of(Message(FUSE_COPY_FILE_RANGE).with(copied)), EINVAL) << "they overlap";
  EXPECT_EQ(dropped_attributes(), std::vector{node});
  fuse_fallocate_in allocated{};
  allocated.fh = copied.fh_out;
  allocated.length = 4096;
  EXPECT_EQ(error_of(Message(FUSE_FALLOCATE, node).with(allocated)), 0);
  EXPECT_EQ(dropped_attributes(), std::vector{node});
  allocated.mode = FALLOC_FL_PUNCH_HOLE;
  EXPECT_EQ(error_of(Message(FUSE_FALLOCATE, node).with(allocated)), EOPNOTSUPP);
  EXPECT_EQ(dropped_attributes(), (std::vector{node, node}));
}

// --- ioctl ---------------------------------------------------------------------------------------

class IoctlTest : public FilesTest {
 protected:
  [[nodiscard]] Answer control(std::uint64_t handle, unsigned command, std::uint32_t out_bytes,
                               std::string_view argument = {}, std::uint32_t flags = 0) {
    return call(message(handle, command, static_cast<std::uint32_t>(argument.size()), out_bytes,
                        argument, flags));
  }
  static Message message(std::uint64_t handle, unsigned command, std::uint32_t in_bytes,
                         std::uint32_t out_bytes, std::string_view argument,
                         std::uint32_t flags = 0) {
    fuse_ioctl_in in{};
    in.fh = handle;
    in.flags = flags;
    in.cmd = command;
    in.in_size = in_bytes;
    in.out_size = out_bytes;
    return Message(FUSE_IOCTL).with(in).text(argument);
  }
};

TEST_P(IoctlTest, FlagsOfAFile) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  const loop::UniqueFd fd(::open(path("file").c_str(), O_RDONLY | O_CLOEXEC));
  int native = 0;
  if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &native) != 0) {
    GTEST_SKIP() << "no inode flags in " << path("");
  }
  const Answer answer = control(handle, FS_IOC_GETFLAGS, sizeof(int));
  const auto header = answer.at<fuse_ioctl_out>(0);
  EXPECT_TRUE(same_bytes(header, fuse_ioctl_out{}));
  EXPECT_EQ(answer.at<int>(sizeof header), native);
  EXPECT_EQ(answer.payload.size(), sizeof header + sizeof(int));

  const int wanted = native | FS_NODUMP_FL;
  const std::string argument(reinterpret_cast<const char*>(&wanted), sizeof wanted);
  EXPECT_EQ(control(handle, FS_IOC_SETFLAGS, 0, argument).payload.size(), sizeof(fuse_ioctl_out));
  ASSERT_EQ(::ioctl(fd.get(), FS_IOC_GETFLAGS, &native), 0);
  EXPECT_EQ(native, wanted);
  EXPECT_EQ(dropped_attributes().size(), 1U) << "by what sets, not by what gets";
}

TEST_P(IoctlTest, NothingIsSetWhereNobodyHasCheckedTheCaller) {
  connection_.negotiated.kernel_minor = 33;
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  for (const unsigned command : {unsigned{FS_IOC_SETFLAGS}, unsigned{FS_IOC_FSSETXATTR}}) {
    EXPECT_EQ(control(handle, command, 0, std::string(32, 0)).error(), ENOTTY) << command;
  }
  const loop::UniqueFd fd(::open(path("file").c_str(), O_RDONLY | O_CLOEXEC));
  int native = 0;
  const int native_error = ::ioctl(fd.get(), FS_IOC_GETFLAGS, &native) == 0 ? 0 : errno;
  EXPECT_EQ(control(handle, FS_IOC_GETFLAGS, sizeof(int)).error(), native_error);
}

TEST_P(IoctlTest, FlagsOfADirectory) {
  const std::uint64_t handle = open_directory();
  const Answer answer = control(handle, FS_IOC_GETFLAGS, sizeof(int), {}, FUSE_IOCTL_DIR);
  if (answer.error() == ENOTTY) GTEST_SKIP() << "no inode flags in " << path("");
  EXPECT_EQ(answer.payload.size(), sizeof(fuse_ioctl_out) + sizeof(int));
  EXPECT_EQ(control(4711, FS_IOC_GETFLAGS, sizeof(int), {}, FUSE_IOCTL_DIR).error(), EBADF);
}

TEST_P(IoctlTest, EverythingElseIsNotForThisFile) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  for (const unsigned command : {unsigned{TCGETS}, unsigned{FIONREAD}, unsigned{FICLONE},
                                 unsigned{BLKGETSIZE64}, 0U, 0xffffffffU}) {
    EXPECT_EQ(control(handle, command, 64).error(), ENOTTY) << command;
    EXPECT_EQ(control(handle, command, 0, std::string(65, 0)).error(), ENOTTY) << command;
  }
  EXPECT_EQ(control(4711, FS_IOC_GETFLAGS, sizeof(int)).error(), EBADF);
}

TEST_P(IoctlTest, FalseSizes) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  // More argument than there is.
  EXPECT_EQ(error_of(message(handle, FS_IOC_SETFLAGS, 8, 0, "1234")), EINVAL);
  EXPECT_EQ(error_of(message(handle, FS_IOC_SETFLAGS, 0xffffffff, 0, "1234")), EINVAL);
  // More result than fits, or too little room for it.
  EXPECT_EQ(control(handle, FS_IOC_GETFLAGS, 0xffffffff).error(), EINVAL);
  EXPECT_EQ(control(handle, FS_IOC_GETFLAGS, 128 * 1024).error(), EINVAL);
  EXPECT_EQ(control(handle, FS_IOC_GETFLAGS, 3).error(), EINVAL);
  EXPECT_EQ(control(handle, FS_IOC_SETFLAGS, 0, "123").error(), EINVAL);
}

TEST_P(IoctlTest, NothingOfAFormerRequestIsShown) {
  backing_.put_file("file");
  const std::uint64_t handle = open("file", O_RDWR);
  // The reply is as long as the result, not as long as the room for it.
  EXPECT_EQ(error_of(requests::write(handle, 0, std::string(100'000, 'S'))), 0);
  const Answer answer = control(handle, FS_IOC_GETFLAGS, 4096);
  if (answer.error() == ENOTTY) GTEST_SKIP() << "no inode flags in " << path("");
  EXPECT_EQ(answer.text().find('S'), std::string::npos);
}

OURO_IN_ALL_MODES(FilesTest);
OURO_IN_ALL_MODES(IoctlTest);

}  // namespace
}  // namespace ouro::fs
