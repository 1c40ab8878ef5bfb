#include "passthrough/durable_ids.hpp"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::passthrough {
namespace {

constexpr std::uint32_t kGeneration = 0xfedcba98;

// What a file system makes of a number and a generation.
struct Kind {
  const char* name;
  int type;
  SourceHandle (*handle)(int type, std::uint64_t number, std::uint32_t generation);
};

template <typename... Parts>
SourceHandle handle_of(int type, Parts... parts) {
  std::vector<std::byte> bytes;
  [[maybe_unused]] const auto add = [&bytes](auto part) {
    const auto* const begin = reinterpret_cast<const std::byte*>(&part);
    bytes.insert(bytes.end(), begin, begin + sizeof part);
  };
  (add(parts), ...);
  return {type, std::move(bytes)};
}

const Kind kKinds[] = {{"ext4", 1,
                        [](int type, std::uint64_t number, std::uint32_t generation) {
                          return handle_of(type, static_cast<std::uint32_t>(number), generation);
                        }},
                       {"xfs", 0x81,
                        [](int type, std::uint64_t number, std::uint32_t generation) {
                          return handle_of(type, number, generation);
                        }},
                       {"tmpfs", 1, [](int type, std::uint64_t number, std::uint32_t generation) {
                          return handle_of(type, generation, number);
                        }}};

class DurableIdsTest : public ::testing::TestWithParam<Kind> {
 protected:
  [[nodiscard]] static SourceHandle handle(std::uint64_t number,
                                           std::uint32_t generation = kGeneration) {
    return GetParam().handle(GetParam().type, number, generation);
  }
  const std::optional<DurableIds> ids_ = DurableIds::like(handle(128), 128);
};

TEST_P(DurableIdsTest, LeadBackToTheHandle) {
  ASSERT_TRUE(ids_);
  for (const std::uint64_t number : {1ULL, 128ULL, 0x7fffffffULL}) {
    for (const std::uint32_t generation : {0U, 1U, kGeneration}) {
      const auto id = ids_->id_of(handle(number, generation), number);
      ASSERT_TRUE(id) << number;
      EXPECT_TRUE(DurableIds::is_durable(*id));
      EXPECT_EQ(DurableIds::inode_number(*id), number);
      EXPECT_EQ(ids_->handle_of(*id), handle(number, generation));
    }
  }
  EXPECT_NE(ids_->id_of(handle(128, 1), 128), ids_->id_of(handle(128, 2), 128));
}

TEST_P(DurableIdsTest, AreNotForWhatDoesNotFit) {
  ASSERT_TRUE(ids_);
  EXPECT_FALSE(ids_->id_of(handle(0x80000000), 0x80000000)) << "its bit marks durable ids";
  EXPECT_FALSE(ids_->id_of(handle(0), 0));
  EXPECT_FALSE(ids_->id_of(handle(128), 129)) << "another file's";
  EXPECT_FALSE(ids_->id_of(SourceHandle(GetParam().type + 1, handle(128).bytes()), 128));
  EXPECT_FALSE(ids_->id_of(handle_of(GetParam().type, std::uint64_t{128}, std::uint64_t{1}), 128));
}

INSTANTIATE_TEST_SUITE_P(, DurableIdsTest, ::testing::ValuesIn(kKinds),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(DurableIds, AreNotForOtherFileSystems) {
  EXPECT_FALSE(DurableIds::like(handle_of(0x4d, std::uint64_t{256}, std::uint64_t{5}, 7), 256))
      << "btrfs";
  EXPECT_FALSE(DurableIds::like(handle_of(1, 2U, kGeneration), 3)) << "another number";
  EXPECT_FALSE(DurableIds::like(handle_of(1), 2));
}

TEST(DurableIds, AreNeverThoseOfTheTable) {
  EXPECT_FALSE(DurableIds::is_durable(kRootNode));
  EXPECT_FALSE(DurableIds::is_durable(NodeId{0xffffffff} << 32 | 0x7fffffff));
}

}  // namespace
}  // namespace ouro::passthrough
