#include "passthrough/device_map.hpp"

#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::passthrough {
namespace {

constexpr std::uint64_t kRootDevice = 0x801;
constexpr std::uint64_t kLarge = 0xfedcba9876543210U;

TEST(DeviceMap, NumbersOfTheRootsDeviceAreShownAsTheyAre) {
  DeviceMap map(kRootDevice);
  for (const std::uint64_t inode :
       {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 40, kLarge, ~std::uint64_t{0}}) {
    EXPECT_EQ(map.shown_inode(kRootDevice, inode), inode);
  }
}

TEST(DeviceMap, OtherDevicesHaveNumbersOfTheirOwn) {
  DeviceMap map(kRootDevice);
  EXPECT_EQ(map.shown_inode(7, 2), std::uint64_t{1} << 48 | 2);
  EXPECT_EQ(map.shown_inode(9, 2), std::uint64_t{2} << 48 | 2);
  EXPECT_EQ(map.shown_inode(7, 3), std::uint64_t{1} << 48 | 3) << "a known device keeps its number";
  EXPECT_EQ(map.shown_inode(kRootDevice, 2), 2U);
}

TEST(DeviceMap, LargeNumbersAreFoldedAndStayInTheirDevice) {
  DeviceMap map(kRootDevice);
  const std::uint64_t shown = map.shown_inode(7, kLarge);
  EXPECT_EQ(shown >> 48, 1U);
  EXPECT_EQ(shown, map.shown_inode(7, kLarge));
  // The upper bits count: they are what differs between the two.
  EXPECT_NE(shown, map.shown_inode(7, kLarge ^ std::uint64_t{1} << 60));
}

TEST(DeviceMap, MoreDevicesThanNumbersNeverTakeTheRootsNumber) {
  DeviceMap map(0);
  for (std::uint64_t device = 1; device <= 0x10001; ++device) {
    ASSERT_NE(map.shown_inode(device, 5) >> 48, 0U) << device;
  }
}

TEST(DeviceMap, ThreadsAgreeOnTheNumbers) {
  DeviceMap map(kRootDevice);
  constexpr std::uint64_t kDevices = 50;
  std::vector<std::vector<std::uint64_t>> shown(4, std::vector<std::uint64_t>(kDevices));
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < shown.size(); ++t) {
    threads.emplace_back([&map, &mine = shown[t], t] {
      for (std::uint64_t i = 0; i < kDevices; ++i) {
        const std::uint64_t device = (i * 7 + t * 11) % kDevices;
        mine[device] = map.shown_inode(10'000 + device, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : shown) EXPECT_EQ(mine, shown[0]);
  EXPECT_EQ(std::set(shown[0].begin(), shown[0].end()).size(), kDevices);
}

}  // namespace
}  // namespace ouro::passthrough
