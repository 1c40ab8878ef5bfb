// Tests of IntrusiveFifo.
#include "loop/intrusive_fifo.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::loop {
namespace {

struct Item {
  int id = 0;
  Item* next = nullptr;
};
using Fifo = IntrusiveFifo<Item, &Item::next>;

class IntrusiveFifoTest : public ::testing::Test {
 protected:
  void push_all() {
    for (Item& item : items_) fifo_.push(item);
  }
  [[nodiscard]] std::vector<int> drain() {
    std::vector<int> ids;
    while (Item* item = fifo_.pop()) {
      EXPECT_EQ(item->next, nullptr);
      ids.push_back(item->id);
    }
    return ids;
  }

  std::array<Item, 4> items_{{{0}, {1}, {2}, {3}}};
  Fifo fifo_;
};

TEST_F(IntrusiveFifoTest, StartsEmpty) {
  EXPECT_TRUE(fifo_.empty());
  EXPECT_EQ(fifo_.size(), 0U);
  EXPECT_EQ(fifo_.pop(), nullptr);
  EXPECT_EQ(fifo_.size(), 0U);
}

TEST_F(IntrusiveFifoTest, PopsInTheOrderOfPushing) {
  push_all();
  EXPECT_FALSE(fifo_.empty());
  EXPECT_EQ(fifo_.size(), 4U);
  EXPECT_EQ(drain(), (std::vector{0, 1, 2, 3}));
  EXPECT_TRUE(fifo_.empty());
}

TEST_F(IntrusiveFifoTest, APoppedItemMayBePushedAgain) {
  push_all();
  Item* first = fifo_.pop();
  ASSERT_EQ(first, items_.data());
  fifo_.push(*first);
  EXPECT_EQ(drain(), (std::vector{1, 2, 3, 0}));
  push_all();
  EXPECT_EQ(drain(), (std::vector{0, 1, 2, 3}));
}

class RemoveTest : public IntrusiveFifoTest, public ::testing::WithParamInterface<int> {};

// Pushing afterwards shows whether the tail is still right.
TEST_P(RemoveTest, UnlinksOneAndKeepsTheOthersInOrder) {
  push_all();
  const auto removed = static_cast<std::size_t>(GetParam());
  EXPECT_TRUE(fifo_.remove(items_[removed]));
  EXPECT_EQ(items_[removed].next, nullptr);
  EXPECT_EQ(fifo_.size(), 3U);
  fifo_.push(items_[removed]);

  std::vector<int> expected;
  for (int id = 0; id < 4; ++id) {
    if (id != GetParam()) expected.push_back(id);
  }
  expected.push_back(GetParam());
  EXPECT_EQ(drain(), expected);
}

INSTANTIATE_TEST_SUITE_P(EveryPosition, RemoveTest, ::testing::Range(0, 4));

TEST_F(IntrusiveFifoTest, RemovingTheOnlyItemLeavesAnEmptyFifo) {
  fifo_.push(items_[0]);
  EXPECT_TRUE(fifo_.remove(items_[0]));
  EXPECT_TRUE(fifo_.empty());
  EXPECT_EQ(fifo_.pop(), nullptr);
  fifo_.push(items_[1]);
  EXPECT_EQ(drain(), std::vector{1});
}

TEST_F(IntrusiveFifoTest, RemovingAStrangerChangesNothing) {
  EXPECT_FALSE(fifo_.remove(items_[0]));
  fifo_.push(items_[1]);
  EXPECT_FALSE(fifo_.remove(items_[0]));
  EXPECT_EQ(drain(), std::vector{1});
}

}  // namespace
}  // namespace ouro::loop
