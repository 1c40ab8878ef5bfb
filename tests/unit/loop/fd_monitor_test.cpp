#include "loop/fd_monitor.hpp"

#include <poll.h>

#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

namespace ouro::loop {
namespace {

class BareHandler final : public AioHandler {
 public:
  explicit BareHandler(FdCallbacks callbacks) : AioHandler(7, std::move(callbacks)) {}

 protected:
  [[nodiscard]] bool disarmed() const override { return true; }
};

constexpr auto kNothing = [] {};

TEST(AioHandler, IsInterestedInWhatHasACallback) {
  EXPECT_EQ(BareHandler(FdCallbacks{}).interest(), 0U);
  EXPECT_EQ(BareHandler({kNothing, {}}).interest(), std::uint32_t{POLLIN | POLLHUP | POLLERR});
  EXPECT_EQ(BareHandler({{}, kNothing}).interest(), std::uint32_t{POLLOUT | POLLERR});
  EXPECT_EQ(BareHandler({kNothing, kNothing}).interest(),
            std::uint32_t{POLLIN | POLLOUT | POLLHUP | POLLERR});
}

// What is looked at in memory is nothing that the kernel is to watch for.
TEST(AioHandler, IsNotInterestedForItsPollingCallbacks) {
  FdCallbacks callbacks;
  callbacks.poll = [] { return true; };
  callbacks.on_poll_ready = kNothing;
  EXPECT_TRUE(callbacks.can_poll());
  EXPECT_TRUE(callbacks.empty());
  EXPECT_EQ(BareHandler(callbacks).interest(), 0U);
}

TEST(AioHandler, BeginsWithItsDescriptorAndInPlace) {
  const BareHandler handler({kNothing, {}});
  EXPECT_EQ(handler.fd(), 7);
  EXPECT_FALSE(handler.removed());
  EXPECT_FALSE(handler.callbacks().empty());
}

}  // namespace
}  // namespace ouro::loop
