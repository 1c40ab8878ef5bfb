// Tests of EventNotifier.
#include "loop/event_notifier.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <thread>

#include <gtest/gtest.h>

namespace ouro::loop {
namespace {

[[nodiscard]] bool readable(const EventNotifier& notifier, int timeout_ms = 0) {
  pollfd watched{notifier.fd(), POLLIN, 0};
  return ::poll(&watched, 1, timeout_ms) == 1;
}

class EventNotifierTest : public ::testing::Test {
 protected:
  const EventNotifier notifier_ = EventNotifier::create().value();
};

TEST_F(EventNotifierTest, IsUnreadableUntilSet) {
  EXPECT_FALSE(readable(notifier_));
  EXPECT_FALSE(notifier_.test_and_clear());
  notifier_.set();
  EXPECT_TRUE(readable(notifier_));
}

TEST_F(EventNotifierTest, ManySetsAreOneEvent) {
  for (int i = 0; i < 100; ++i) notifier_.set();
  EXPECT_TRUE(notifier_.test_and_clear());
  EXPECT_FALSE(notifier_.test_and_clear());
  EXPECT_FALSE(readable(notifier_));
}

TEST_F(EventNotifierTest, SetNeitherBlocksNorTouchesErrnoWhenTheCounterIsFull) {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - 1;
  ASSERT_EQ(::write(notifier_.fd(), &most, sizeof most), static_cast<ssize_t>(sizeof most));
  errno = EDOM;  // as in code that a signal handler has interrupted
  notifier_.set();
  EXPECT_EQ(errno, EDOM);
  EXPECT_TRUE(notifier_.test_and_clear());
  EXPECT_FALSE(readable(notifier_));
}

TEST_F(EventNotifierTest, WakesAnotherThread) {
  std::thread setter([this] { notifier_.set(); });
  EXPECT_TRUE(readable(notifier_, 10'000));
  setter.join();
}

TEST_F(EventNotifierTest, IsClosedOnExecAndNeverBlocks) {
  EXPECT_NE(::fcntl(notifier_.fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(notifier_.fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(EventNotifierErrorTest, ReportsThatThereAreNoDescriptorsLeft) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = EventNotifier::create();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errno(EMFILE));
}

}  // namespace
}  // namespace ouro::loop
