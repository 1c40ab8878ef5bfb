#include "fs/slot_memory.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace ouro::fs {
namespace {

constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
constexpr std::size_t kPayloadBytes = std::size_t{1} << 20;

// How much of the mapping that `place` is in is on huge pages. The kernel may have joined it with
// others that are on none.
std::size_t huge_bytes_around(const std::byte* place) {
  std::ifstream maps("/proc/self/smaps");
  const auto address = reinterpret_cast<std::uintptr_t>(place);
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t first = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2) {
      here = address >= first && address < end;
    } else if (std::size_t kib = 0;
               here && std::sscanf(line.c_str(), "AnonHugePages: %zu kB", &kib) == 1) {
      return kib << 10;
    }
  }
  return 0;
}

// Why there can be no huge pages here.
std::optional<std::string> has_none() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string words;
  std::getline(file, words);
  if (words.empty()) return "the kernel has no huge pages";
  if (words.find("[never]") != std::string::npos) return "huge pages are switched off";
  // Then the other slots have them as well.
  if (words.find("[always]") != std::string::npos) return "everything has huge pages";
  return std::nullopt;
}

bool holds(std::span<const std::byte> bytes, int value) {
  return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == std::byte(value); });
}

// Whether this process is given huge pages.
class WithoutHugePages {
 public:
  WithoutHugePages() { set(1); }
  WithoutHugePages(const WithoutHugePages&) = delete;
  WithoutHugePages& operator=(const WithoutHugePages&) = delete;
  ~WithoutHugePages() { set(0); }

 private:
  static void set(unsigned long without) {
    EXPECT_EQ(::prctl(PR_SET_THP_DISABLE, without, 0, 0, 0), 0);
  }
};

TEST(SlotMemory, SlotsFollowEachOther) {
  const SlotMemory memory = SlotMemory::map(5, kPayloadBytes).value();
  for (std::size_t slot = 0; slot < 5; ++slot) {
    const auto payload = memory.payload(slot);
    EXPECT_EQ(payload.size(), kPayloadBytes);
    EXPECT_EQ(payload.data(), memory.front(slot) + SlotMemory::kFrontBytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(payload.data()) % 4096, 0U);
    EXPECT_TRUE(memory.contains(memory.front(slot)));
    EXPECT_TRUE(memory.contains(&payload.back()));
    if (slot > 0) {
      EXPECT_EQ(memory.front(slot), &memory.payload(slot - 1).back() + 1);
    }
  }
  std::byte elsewhere{};
  EXPECT_FALSE(memory.contains(&elsewhere));
}

TEST(SlotMemory, ThereCanBeNoSlots) {
  const SlotMemory memory = SlotMemory::map(0, kPayloadBytes).value();
  const std::byte elsewhere{};
  EXPECT_FALSE(memory.contains(&elsewhere));
  EXPECT_FALSE(memory.contains(nullptr));
}

TEST(SlotMemory, MoreThanThereIsIsAnError) {
  EXPECT_EQ(SlotMemory::map(std::size_t{1} << 30, std::size_t{1} << 30).error(),
            loop::Errno(ENOMEM));
}

// Whatever was touched before, and with what it holds.
TEST(SlotMemory, OnlyTheSlotThatIsToHaveThemHasHugePages) {
  if (const auto reason = has_none()) GTEST_SKIP() << *reason;
  constexpr std::size_t kSlots = 16;
  const SlotMemory memory = SlotMemory::map(kSlots, kPayloadBytes).value();
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    std::ranges::fill(memory.payload(slot).first(8192), std::byte(slot + 1));
  }
  EXPECT_EQ(huge_bytes_around(memory.front(7)), 0U);

  memory.use_huge_pages(7);
  std::ranges::fill(memory.payload(7).subspan(8192), std::byte{0x77});
  const std::size_t huge_bytes = huge_bytes_around(memory.payload(7).data());
  EXPECT_GE(huge_bytes, kHugeBytes);
  EXPECT_LE(huge_bytes, 2 * kHugeBytes);
  EXPECT_TRUE(holds(memory.payload(7).subspan(8192), 0x77));
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    EXPECT_TRUE(holds(memory.payload(slot).first(8192), static_cast<int>(slot + 1))) << slot;
  }
}

// The first one and the last too, around which there is room for whole ones.
TEST(SlotMemory, EverySlotCanHaveHugePages) {
  if (const auto reason = has_none()) GTEST_SKIP() << *reason;
  const SlotMemory memory = SlotMemory::map(3, kPayloadBytes).value();
  for (std::size_t slot = 0; slot < 3; ++slot) {
    memory.use_huge_pages(slot);
    std::ranges::fill(memory.payload(slot), std::byte(slot));
  }
  for (std::size_t slot = 0; slot < 3; ++slot) {
    EXPECT_TRUE(holds(memory.payload(slot), static_cast<int>(slot)));
    EXPECT_EQ(huge_bytes_around(&memory.payload(slot).back()), 2 * kHugeBytes);
  }
}

TEST(SlotMemory, DoesWithoutWhereThereAreNone) {
  const WithoutHugePages without;
  const SlotMemory memory = SlotMemory::map(4, kPayloadBytes).value();
  std::ranges::fill(memory.payload(1), std::byte{1});
  memory.use_huge_pages(1);
  EXPECT_EQ(huge_bytes_around(memory.front(1)), 0U);
  EXPECT_TRUE(holds(memory.payload(1), 1));
}

}  // namespace
}  // namespace ouro::fs
