#include "fs/closer.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/support/loop_test.hpp"

namespace ouro::fs {
namespace {

using Closed = std::atomic<int>;

// An object that counts when its last reference goes, and runs `body` before.
std::shared_ptr<const void> object(
    Closed& closed, std::function<void()> body = [] {}) {
  static const int kAnything = 0;
  return {&kAnything, [&closed, body = std::move(body)](const void*) {
            body();
            ++closed;
          }};
}

TEST(InlineCloser, ClosesAtOnce) {
  Closed closed = 0;
  InlineCloser closer;
  closer.close(nullptr);
  closer.close(object(closed));
  EXPECT_EQ(closed, 1);
}

class PoolCloserTest : public testing::LoopTest {
 protected:
  ~PoolCloserTest() override { pool_.reset(); }  // before the closer, as in a server

  std::unique_ptr<loop::WorkerPool> pool_ = std::make_unique<loop::WorkerPool>(*context_, 4);
  PoolCloser closer_{*pool_};
};

TEST_F(PoolCloserTest, ClosesInAWorker) {
  Closed closed = 0;
  std::thread::id closed_in;
  closer_.close(nullptr);
  closer_.close(object(closed, [&] { closed_in = std::this_thread::get_id(); }));
  poll_until([&] { return closed == 1; });
  EXPECT_NE(closed_in, std::this_thread::get_id());
}

TEST_F(PoolCloserTest, WhatHangsHoldsUpNothingButOtherCloses) {
  Closed closed = 0;
  std::mutex mutex;
  std::unique_lock held(mutex);
  closer_.close(object(closed, [&] { const std::lock_guard wait(mutex); }));
  for (int i = 0; i < 100; ++i) closer_.close(object(closed));
  EXPECT_EQ(closed, 0);
  held.unlock();
  poll_until([&] { return closed == 101; });
}

TEST(PoolCloser, ClosesWhatIsLeftInTheEnd) {
  Closed closed = 0;
  const auto context = loop::AioContext::create().value();
  {
    auto pool = std::make_unique<loop::WorkerPool>(*context, 1);
    PoolCloser closer(*pool);
    for (int i = 0; i < 10; ++i) closer.close(object(closed));
    pool.reset();
  }
  EXPECT_EQ(closed, 10);
}

}  // namespace
}  // namespace ouro::fs
