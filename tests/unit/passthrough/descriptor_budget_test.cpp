#include "passthrough/descriptor_budget.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::passthrough {
namespace {

using loop::UniqueFd;
using Use = DescriptorBudget::Use;

constexpr std::size_t kLimit = 256;
constexpr std::size_t kFilesEnd = 224;
constexpr std::size_t kDirectoriesEnd = 240;

class DescriptorBudgetTest : public ::testing::Test {
 protected:
  // Takes every number below `end`.
  void fill_up_to(std::size_t end) {
    while (true) {
      UniqueFd fd(::dup(any_.get()));
      ASSERT_TRUE(fd);
      if (static_cast<std::size_t>(fd.get()) >= end) return;
      last_ = fd.get();
      taken_.push_back(std::move(fd));
    }
  }

  const UniqueFd any_{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  std::vector<UniqueFd> taken_;
  int last_ = -1;
};

TEST_F(DescriptorBudgetTest, TheLastEighthIsNotForFiles) {
  int told = 0;
  DescriptorBudget budget(kLimit, [&told] { ++told; });
  EXPECT_EQ(budget.reserve_begin(), kFilesEnd);
  fill_up_to(kFilesEnd - 1);
  budget.note(last_);
  EXPECT_TRUE(budget.check_room(Use::kFile, any_.get()));
  fill_up_to(kFilesEnd + 1);
  budget.note(last_);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const loop::Status refused = budget.check_room(Use::kFile, any_.get());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), loop::Errno(EMFILE));
  }
  EXPECT_EQ(told, 1);
}

TEST_F(DescriptorBudgetTest, DirectoriesMayGoHalfIntoIt) {
  DescriptorBudget budget(kLimit);
  fill_up_to(kDirectoriesEnd - 1);
  budget.note(last_);
  EXPECT_TRUE(budget.check_room(Use::kDirectory, any_.get()));
  fill_up_to(kDirectoriesEnd);
  EXPECT_FALSE(budget.check_room(Use::kDirectory, any_.get()));
}

TEST_F(DescriptorBudgetTest, ThereIsRoomAgainWhenOneWasClosed) {
  DescriptorBudget budget(kLimit);
  fill_up_to(kFilesEnd);
  budget.note(static_cast<int>(kFilesEnd));
  EXPECT_FALSE(budget.check_room(Use::kFile, any_.get()));
  taken_.pop_back();
  EXPECT_TRUE(budget.check_room(Use::kFile, any_.get()));
}

TEST_F(DescriptorBudgetTest, HasNoEndWithoutALimit) {
  DescriptorBudget budget;
  budget.note(1 << 30);
  EXPECT_TRUE(budget.check_room(Use::kFile, any_.get()));
}

}  // namespace
}  // namespace ouro::passthrough
