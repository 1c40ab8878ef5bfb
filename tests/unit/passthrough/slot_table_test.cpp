#include "passthrough/slot_table.hpp"

#include <limits>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::passthrough {
namespace {

TEST(SlotTable, FindsWhatWasInserted) {
  SlotTable<int> table;
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(table.insert(std::make_shared<int>(i)));
  EXPECT_EQ(table.size(), 100U);
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t id = ids[static_cast<std::size_t>(i)];
    EXPECT_NE(id, 0U);
    ASSERT_NE(table.find(id), nullptr);
    EXPECT_EQ(*table.find(id), i);
  }
}

TEST(SlotTable, UnknownIdsAreNull) {
  SlotTable<int> table;
  const std::uint64_t id = table.insert(std::make_shared<int>(1));
  for (const std::uint64_t wrong : {std::uint64_t{0}, id + 1, id ^ std::uint64_t{1} << 32,
                                    id & 0xffffffffU, std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_EQ(table.find(wrong), nullptr) << wrong;
    EXPECT_EQ(table.remove(wrong), nullptr) << wrong;
  }
  EXPECT_EQ(table.size(), 1U);
}

TEST(SlotTable, ARemovedIdIsNeverValidAgain) {
  SlotTable<int> table;
  std::vector<std::uint64_t> old;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t id = table.insert(std::make_shared<int>(i));
    for (const std::uint64_t stale : old) ASSERT_NE(stale, id);
    old.push_back(id);
    ASSERT_NE(table.remove(id), nullptr);
    EXPECT_EQ(table.remove(id), nullptr);
  }
  const std::uint64_t living = table.insert(std::make_shared<int>(7));
  for (const std::uint64_t stale : old) EXPECT_EQ(table.find(stale), nullptr);
  EXPECT_EQ(*table.find(living), 7);
  EXPECT_EQ(table.size(), 1U);
}

TEST(SlotTable, AReferenceOutlivesItsId) {
  SlotTable<int> table;
  const std::uint64_t id = table.insert(std::make_shared<int>(5));
  const auto reference = table.find(id);
  table.remove(id);
  EXPECT_EQ(*reference, 5);
  EXPECT_EQ(reference.use_count(), 1);
}

TEST(SlotTable, FourThreadsAgree) {
  SlotTable<std::uint64_t> table;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&table, &wrong, t] {
      std::vector<std::pair<std::uint64_t, std::uint64_t>> mine;
      for (std::uint64_t i = 0; i < 10'000; ++i) {
        const std::uint64_t value = t << 32 | i;
        mine.emplace_back(table.insert(std::make_shared<std::uint64_t>(value)), value);
        if (mine.size() < 16) continue;
        for (const auto& [id, expected] : mine) {
          const auto found = table.find(id);
          if (!found || *found != expected) ++wrong;
          if (table.remove(id) == nullptr) ++wrong;
        }
        mine.clear();
      }
      for (const auto& [id, expected] : mine) table.remove(id);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace ouro::passthrough
