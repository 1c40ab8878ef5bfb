#include <dirent.h>

#include "tests/unit/passthrough/directory_records.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

class TreeDirectoriesTest : public TreeTest {
 protected:
  DirHandleId opendir(NodeId node) {
    const auto handle = tree().opendir(executor(), node);
    EXPECT_TRUE(handle);
    return handle.value_or(0);
  }
  std::vector<DirectoryRecord> read(DirHandleId handle, std::int64_t offset = 0) {
    std::vector<std::byte> buffer(4096);
    const loop::KernelResult bytes = tree().directory(handle).value()->read(offset, buffer);
    EXPECT_GE(bytes, 0);
    return parse_records(std::span(buffer).first(static_cast<std::size_t>(bytes)));
  }
};
OURO_BOTH_EXECUTORS(TreeDirectoriesTest);

TEST_P(TreeDirectoriesTest, ReadsADirectory) {
  write_file(path("file"), "");
  std::filesystem::create_directory(path("dir"));
  const auto records = read(opendir(kRootNode));
  EXPECT_EQ(names_of(records), (std::multiset<std::string>{".", "..", "dir", "file"}));
  for (const DirectoryRecord& record : records) {
    if (record.name == "file") {
      EXPECT_EQ(record.type, DT_REG);
      EXPECT_EQ(record.inode, stat_of(path("file")).st_ino);
    }
  }
}

TEST_P(TreeDirectoriesTest, HandlesAreReleased) {
  const std::size_t before = open_descriptors();
  const DirHandleId handle = opendir(kRootNode);
  EXPECT_EQ(tree().open_count(), 1U);
  const auto directory = tree().directory(handle).value();
  EXPECT_EQ(::fcntl(directory->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  tree().releasedir(handle);
  EXPECT_EQ(error_of(tree().directory(handle)), EBADF);
  EXPECT_EQ(open_descriptors(), before + 1) << "still referred to";
}

TEST_P(TreeDirectoriesTest, EachHandleHasItsOwnPosition) {
  for (int i = 0; i < 50; ++i) write_file(path("file" + std::to_string(i)), "");
  const DirHandleId one = opendir(kRootNode);
  const DirHandleId two = opendir(kRootNode);
  const auto first = read(one);
  EXPECT_EQ(names_of(read(two)), names_of(first));
  EXPECT_EQ(read(one, first[10].next)[0].name, first[11].name);
  EXPECT_EQ(read(two, first[30].next)[0].name, first[31].name);
}

TEST_P(TreeDirectoriesTest, Errors) {
  write_file(path("file"), "");
  std::filesystem::create_directory_symlink("/etc", path("link"));
  EXPECT_EQ(error_of(tree().opendir(executor(), look("file"))), ENOTDIR);
  EXPECT_EQ(error_of(tree().opendir(executor(), look("link"))), ENOTDIR);
  EXPECT_EQ(error_of(tree().opendir(executor(), 99)), ESTALE);
  EXPECT_EQ(error_of(tree().directory(0)), EBADF);
  EXPECT_EQ(error_of(tree().fsyncdir(executor(), 0, false)), EBADF);
  tree().releasedir(12345);
  EXPECT_EQ(tree().open_count(), 0U);
}

TEST_P(TreeDirectoriesTest, FileAndDirectoryHandlesAreNotMixedUp) {
  write_file(path("file"), "");
  const FileHandleId file = open("file", O_RDONLY);
  const DirHandleId first = opendir(kRootNode);
  EXPECT_TRUE(tree().directory(first));
  tree().releasedir(first);
  EXPECT_FALSE(tree().directory(first));
  EXPECT_TRUE(tree().file(file));
  EXPECT_FALSE(tree().directory(file)) << "no directory of that number is open";
}

TEST_P(TreeDirectoriesTest, Fsyncdir) {
  const DirHandleId handle = opendir(kRootNode);
  const auto before = executor_.cqes(IORING_OP_FSYNC);
  EXPECT_EQ(error_of(tree().fsyncdir(executor(), handle, false)), 0);
  EXPECT_EQ(error_of(tree().fsyncdir(executor(), handle, true)), 0);
  if (before) {
    EXPECT_EQ(executor_.cqes(IORING_OP_FSYNC), *before + 2);
  }
}

TEST_P(TreeDirectoriesTest, ADirectoryRemovedWhileItIsOpen) {
  std::filesystem::create_directory(path("dir"));
  const DirHandleId handle = opendir(look("dir"));
  std::filesystem::remove(path("dir"));
  std::vector<std::byte> buffer(4096);
  EXPECT_EQ(tree().directory(handle).value()->read(0, buffer), -ENOENT);
}

TEST_P(TreeDirectoriesTest, NumbersOfTheRootsDeviceAreShownAsTheyAre) {
  const auto directory = tree().directory(opendir(kRootNode)).value();
  EXPECT_EQ(tree().shown_inode(*directory, 1234), 1234U);
}

}  // namespace
}  // namespace ouro::passthrough
