#include "passthrough/file_handle.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/passthrough/directory_records.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

InodeRef some_inode() {
  return std::make_shared<const Inode>(Inode{.key = {1, 2, 3}, .type = S_IFREG, .path_fd = {}});
}

loop::UniqueFd open_file(const std::filesystem::path& path, int flags) {
  loop::UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  EXPECT_TRUE(fd) << path;
  return fd;
}

TEST(FileHandle, OpensTheDirectDescriptorOnce) {
  const testing::TempDir dir;
  FileHandle handle(some_inode(), open_file(dir / "file", O_CREAT | O_WRONLY | O_DSYNC), {});
  const int direct = handle.direct_fd().value();
  EXPECT_NE(direct, handle.buffered_fd());
  EXPECT_EQ(handle.direct_fd().value(), direct);
  const int flags = ::fcntl(direct, F_GETFL);
  EXPECT_EQ(flags & O_ACCMODE, O_WRONLY);
  EXPECT_EQ(flags & O_DIRECT, O_DIRECT);
  EXPECT_EQ(flags & O_DSYNC, O_DSYNC);
  EXPECT_EQ(::fcntl(direct, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(::fcntl(handle.buffered_fd(), F_GETFL) & O_DIRECT, 0);
}

TEST(FileHandle, AGivenDirectDescriptorIsUsed) {
  const testing::TempDir dir;
  loop::UniqueFd direct = open_file(dir / "file", O_CREAT | O_RDWR | O_DIRECT);
  const int number = direct.get();
  FileHandle handle(some_inode(), open_file(dir / "file", O_RDWR), std::move(direct));
  EXPECT_EQ(handle.direct_fd().value(), number);
}

TEST(FileHandle, DirectIsEinvalWhereTheFileSystemHasNone) {
  FileHandle handle(some_inode(), open_file("/proc/self/status", O_RDONLY), {});
  const auto direct = handle.direct_fd();
  ASSERT_FALSE(direct);
  EXPECT_EQ(direct.error().value(), EINVAL);
}

TEST(FileHandle, IsUsedAsItsFileSystemWants) {
  const auto handle = [](FileSystemKind kind) {
    return FileHandle(some_inode(), open_file("/proc/self/status", O_RDONLY), {}, kind);
  };
  EXPECT_FALSE(handle(FileSystemKind::kLocal).close_can_fail());
  EXPECT_TRUE(handle(FileSystemKind::kOther).close_can_fail());
  EXPECT_TRUE(handle(FileSystemKind::kFuse).close_can_fail());
  EXPECT_EQ(handle(FileSystemKind::kLocal).sqe_flags(), 0U);
  EXPECT_EQ(handle(FileSystemKind::kOther).sqe_flags(), 0U);
  EXPECT_EQ(handle(FileSystemKind::kFuse).sqe_flags(), unsigned{IOSQE_ASYNC});
}

TEST(FileHandle, ItsOpenerPaysUnlessThatIsRoot) {
  const testing::TempDir dir;
  FileHandle handle(some_inode(), open_file(dir / "file", O_CREAT | O_RDWR), {});
  EXPECT_EQ(handle.payer(), std::nullopt);
  handle.set_opener(1001, 1002);
  EXPECT_EQ(handle.payer(), Credentials::payer(1001, 1002));
  handle.set_opener(0, 1002);
  EXPECT_EQ(handle.payer(), std::nullopt);
}

TEST(FileHandle, ThreadsGetTheSameDirectDescriptor) {
  const testing::TempDir dir;
  FileHandle handle(some_inode(), open_file(dir / "file", O_CREAT | O_RDWR), {});
  const std::size_t before = open_descriptors();
  std::array<int, 4> found{};
  std::vector<std::thread> threads;
  for (int& fd : found) {
    threads.emplace_back([&handle, &fd] { fd = handle.direct_fd().value(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int fd : found) EXPECT_EQ(fd, found[0]);
  EXPECT_EQ(open_descriptors(), before + 1);
}

TEST(FileHandle, TheOpenedDescriptorIsTheOneThatWasAskedFor) {
  const testing::TempDir dir;
  loop::UniqueFd direct = open_file(dir / "file", O_CREAT | O_RDWR | O_DIRECT);
  const int number = direct.get();
  FileHandle asked(some_inode(), open_file(dir / "file", O_RDWR), std::move(direct));
  EXPECT_EQ(asked.opened_fd(), number);
  FileHandle later(some_inode(), open_file(dir / "file", O_RDWR), {});
  ASSERT_TRUE(later.direct_fd());
  EXPECT_EQ(later.opened_fd(), later.buffered_fd());
}

TEST(FileHandle, AccessTimesStayWhileTheClientWantsThat) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  FileHandle handle(some_inode(), open_file(dir / "file", O_RDWR | O_DSYNC),
                    open_file(dir / "file", O_RDWR | O_DIRECT));
  const int direct = handle.direct_fd().value();
  const auto flags = [&](int fd) {
    return ::fcntl(fd, F_GETFL) & (O_NOATIME | O_DIRECT | O_DSYNC | O_ACCMODE);
  };
  for (int round = 0; round < 2; ++round) {
    handle.set_access_time(AccessTime::kStays);
    EXPECT_EQ(flags(handle.buffered_fd()), O_NOATIME | O_DSYNC | O_RDWR);
    EXPECT_EQ(flags(direct), O_NOATIME | O_DIRECT | O_RDWR);
    handle.set_access_time(AccessTime::kMoves);
    EXPECT_EQ(flags(handle.buffered_fd()), O_DSYNC | O_RDWR);
    EXPECT_EQ(flags(direct), O_DIRECT | O_RDWR);
  }
}

TEST(FileHandle, AccessTimesMoveAgainThoughItWasOpenedWithoutThem) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  FileHandle handle(some_inode(), open_file(dir / "file", O_RDONLY | O_NOATIME), {});
  handle.set_access_time(AccessTime::kMoves);
  EXPECT_EQ(::fcntl(handle.buffered_fd(), F_GETFL) & O_NOATIME, 0);
}

class DirHandleTest : public ::testing::Test {
 protected:
  static constexpr int kFiles = 200;

  DirHandleTest() {
    for (int i = 0; i < kFiles; ++i) write_file(dir_ / ("file-" + std::to_string(i)), "");
    handle_ = std::make_unique<DirHandle>(some_inode(), open_file(dir_.path(), O_RDONLY));
  }

  // The records from `offset` on; fails the test on an error.
  std::vector<DirectoryRecord> read(std::int64_t offset, std::size_t buffer_bytes = 4096) {
    std::vector<std::byte> buffer(buffer_bytes);
    const loop::KernelResult bytes = handle_->read(offset, buffer);
    EXPECT_GE(bytes, 0);
    if (bytes < 0) return {};
    return parse_records(std::span(buffer).first(static_cast<std::size_t>(bytes)));
  }
  // Everything from `offset` on.
  std::vector<DirectoryRecord> read_all(std::int64_t offset = 0, std::size_t buffer_bytes = 512) {
    std::vector<DirectoryRecord> all;
    for (auto part = read(offset, buffer_bytes); !part.empty();
         part = read(all.back().next, buffer_bytes)) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

  const testing::TempDir dir_;
  std::unique_ptr<DirHandle> handle_;
};

TEST_F(DirHandleTest, ReadsEveryEntryOnceDotsIncluded) {
  const auto names = names_of(read_all());
  EXPECT_EQ(names.size(), kFiles + 2U);
  for (int i = 0; i < kFiles; ++i) EXPECT_EQ(names.count("file-" + std::to_string(i)), 1U) << i;
  EXPECT_EQ(names.count("."), 1U);
  EXPECT_EQ(names.count(".."), 1U);
}

TEST_F(DirHandleTest, AccessTimesStayWhileTheClientWantsThat) {
  const auto flags = [&] { return ::fcntl(handle_->fd(), F_GETFL) & O_NOATIME; };
  std::vector<std::byte> buffer(4096);
  for (int round = 0; round < 2; ++round) {
    EXPECT_GT(handle_->read(0, buffer, AccessTime::kStays), 0);
    EXPECT_EQ(flags(), O_NOATIME);
    EXPECT_GT(handle_->read(0, buffer, AccessTime::kMoves), 0);
    EXPECT_EQ(flags(), 0);
  }
  DirHandle opened(some_inode(), open_file(dir_.path(), O_RDONLY | O_NOATIME));
  EXPECT_GT(opened.read(0, buffer, AccessTime::kMoves), 0);
  EXPECT_EQ(::fcntl(opened.fd(), F_GETFL) & O_NOATIME, 0);
}

TEST_F(DirHandleTest, EveryCookieLeadsToWhatFollowed) {
  const auto all = read_all();
  ASSERT_EQ(all.size(), kFiles + 2U);
  // Backwards, so that no read goes on where the one before it ended.
  for (std::size_t i = all.size() - 1; i-- > 0;) {
    const auto rest = read(all[i].next, 64);
    ASSERT_FALSE(rest.empty()) << i;
    EXPECT_EQ(rest[0].name, all[i + 1].name) << i;
  }
}

TEST_F(DirHandleTest, AConsumerMayTakeFewerThanWereRead) {
  std::vector<std::string> names;
  std::int64_t offset = 0;
  for (auto part = read(offset); !part.empty(); part = read(offset)) {
    names.push_back(part[0].name);
    offset = part[0].next;
  }
  EXPECT_EQ(names.size(), kFiles + 2U);
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
}

TEST_F(DirHandleTest, ReadingFromTheStartSeesNewNames) {
  ASSERT_EQ(read_all().size(), kFiles + 2U);
  write_file(dir_ / "new", "");
  std::filesystem::remove(dir_ / "file-7");
  const auto names = names_of(read_all());
  EXPECT_EQ(names.count("new"), 1U);
  EXPECT_EQ(names.count("file-7"), 0U);
}

TEST_F(DirHandleTest, TheSameOffsetTwiceGivesTheSame) {
  const auto first = read(0, 512);
  const auto next = read(first.back().next, 512);
  EXPECT_EQ(names_of(read(first.back().next, 512)), names_of(next));
  EXPECT_EQ(names_of(read(0, 512)), names_of(first));
  EXPECT_EQ(names_of(read(0, 512)), names_of(first));
}

TEST_F(DirHandleTest, TheEndStaysTheEndUntilSomethingElseIsRead) {
  const auto all = read_all();
  EXPECT_TRUE(read(all.back().next).empty());
  EXPECT_TRUE(read(all.back().next).empty());
  EXPECT_EQ(read(all[3].next, 64)[0].name, all[4].name);
  EXPECT_EQ(read(0, 64)[0].name, all[0].name);
}

TEST_F(DirHandleTest, ErrorsLeaveThePositionToBeFoundAnew) {
  const auto first = read(0, 512);
  std::array<std::byte, 8> too_small{};
  EXPECT_EQ(handle_->read(first.back().next, too_small), -EINVAL);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    std::vector<std::byte> buffer(512);
    EXPECT_EQ(handle_->read(wrong, buffer), -EINVAL);
  }
  EXPECT_EQ(names_of(read(0, 512)), names_of(first));
  EXPECT_EQ(read_all().size(), kFiles + 2U);
}

TEST_F(DirHandleTest, AFailedSeekIsReported) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const loop::UniqueFd writer(ends[1]);
  DirHandle handle(some_inode(), loop::UniqueFd(ends[0]));
  std::vector<std::byte> buffer(512);
  EXPECT_EQ(handle.read(5, buffer), -ESPIPE);
  EXPECT_EQ(handle.read(0, buffer), -ESPIPE) << "the position is unknown after a failed seek";
}

TEST_F(DirHandleTest, ARemovedDirectoryIsEnoent) {
  ASSERT_TRUE(std::filesystem::create_directory(dir_ / "gone"));
  DirHandle handle(some_inode(), open_file(dir_ / "gone", O_RDONLY));
  std::filesystem::remove(dir_ / "gone");
  std::vector<std::byte> buffer(512);
  EXPECT_EQ(handle.read(0, buffer), -ENOENT);
  EXPECT_EQ(handle.read(0, buffer), -ENOENT);
}

TEST_F(DirHandleTest, ThreadsReadWithoutMixingTheirPositions) {
  const auto all = read_all();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, &all, &wrong, t] {
      for (std::size_t i = 0; i < 500; ++i) {
        const std::size_t at = (i * 13 + t * 29) % (all.size() - 1);
        const auto rest = read(all[at].next, 128);
        if (rest.empty() || rest[0].name != all[at + 1].name) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace ouro::passthrough
