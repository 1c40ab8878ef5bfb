// Whose changes a file has seen.
#include "passthrough/content_history.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "passthrough/inode.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::passthrough {
namespace {

class ContentHistoryTest : public ::testing::Test {
 protected:
  // Of the same size as before, by anybody: what makes it ours is what is around it.
  void write() { ASSERT_EQ(::pwrite(fd_.get(), "text", 4, 0), 4); }
  void expect_foreign(std::uint64_t change) {
    history_.look(fd_.get());
    EXPECT_EQ(history_.foreign_change(), change);
  }

  testing::TempDir directory_;
  loop::UniqueFd fd_{::open((directory_.path() / "f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  ContentHistory history_;
};

TEST_F(ContentHistoryTest, TakesTheFirstLookAsItIs) {
  write();
  expect_foreign(0);
  expect_foreign(0);
}

TEST_F(ContentHistoryTest, TellsChangesByOthers) {
  expect_foreign(0);
  write();
  expect_foreign(1);
  expect_foreign(1);
  write();
  expect_foreign(2);
}

TEST_F(ContentHistoryTest, TellsANewSizeWithTheOldTime) {
  write();
  const timespec times[] = {{1, 1}, {1, 1}};
  ASSERT_EQ(::futimens(fd_.get(), times), 0);
  expect_foreign(0);
  ASSERT_EQ(::ftruncate(fd_.get(), 1), 0);
  ASSERT_EQ(::futimens(fd_.get(), times), 0);
  expect_foreign(1);
}

TEST_F(ContentHistoryTest, KnowsOurs) {
  expect_foreign(0);
  for (int i = 0; i < 3; ++i) {
    history_.begin_change(fd_.get());
    write();
    history_.end_change(fd_.get());
    expect_foreign(0);
  }
}

TEST_F(ContentHistoryTest, TellsChangesByOthersBetweenOurs) {
  history_.begin_change(fd_.get());
  write();
  history_.end_change(fd_.get());
  write();  // nobody looks until
  history_.begin_change(fd_.get());
  write();
  history_.end_change(fd_.get());
  expect_foreign(1);
}

TEST_F(ContentHistoryTest, JudgesNothingDuringOurs) {
  expect_foreign(0);
  history_.begin_change(fd_.get());
  write();
  expect_foreign(0);
  history_.begin_change(fd_.get());
  write();
  history_.end_change(fd_.get());
  expect_foreign(0);
  write();
  expect_foreign(0);
  history_.end_change(fd_.get());
  expect_foreign(0);
  write();
  expect_foreign(1);
}

TEST_F(ContentHistoryTest, ForgetsWhatPagesWereDroppedFor) {
  expect_foreign(0);
  write();
  expect_foreign(1);
  write();
  expect_foreign(2);
  history_.pages_dropped(1);
  EXPECT_EQ(history_.foreign_change(), 2U) << "another one came while they were dropped";
  history_.pages_dropped(2);
  history_.pages_dropped(1);
  EXPECT_EQ(history_.foreign_change(), 0U);
  write();
  expect_foreign(3);
}

TEST_F(ContentHistoryTest, LooksAtNothingWithoutADescriptor) {
  expect_foreign(0);
  write();
  history_.look(-1);
  EXPECT_EQ(history_.foreign_change(), 0U);
}

TEST_F(ContentHistoryTest, OfAFileThatWasNeverOpenedNothingIsKept) {
  Inode inode{.key = {}, .type = S_IFREG, .path_fd = {}};
  { const ContentChange change(inode, fd_.get()); }  // no history at all
  inode.content = std::make_shared<ContentHistory>();
  inode.content->look(fd_.get());
  std::optional<ContentChange> change;
  change.emplace(inode, fd_.get());
  write();
  change.reset();
  inode.content->look(fd_.get());
  EXPECT_EQ(inode.content->foreign_change(), 1U) << "not open: whoever wrote, it was not seen";

  inode.content->pages_dropped(1);
  inode.content->begin(7);
  EXPECT_EQ(inode.content->node(), 7U);
  change.emplace(inode, fd_.get());
  write();
  change.reset();
  inode.content->look(fd_.get());
  EXPECT_EQ(inode.content->foreign_change(), 0U);
}

TEST_F(ContentHistoryTest, ForgetsWhatItSawWhenTheClientHasNoPages) {
  history_.begin(5);
  expect_foreign(0);
  write();
  expect_foreign(1);
  history_.end();
  EXPECT_EQ(history_.node(), 0U);
  EXPECT_EQ(history_.foreign_change(), 0U);
  write();
  history_.begin(5);
  expect_foreign(0);
  write();
  expect_foreign(2);
}

}  // namespace
}  // namespace ouro::passthrough
