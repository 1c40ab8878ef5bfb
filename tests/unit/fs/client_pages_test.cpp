// When the client is told to drop its pages of a file, and by which thread.
#include "fs/client_pages.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "passthrough/inline_executor.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/fs/notified_transport.hpp"

namespace ouro::fs {
namespace {

class NoLockListener final : public passthrough::LockListener {
 public:
  void lock_wait_ended(std::uint64_t /*id*/, int /*errno_value*/) override { std::abort(); }
};

class ClientPagesTest : public testing::LoopTest {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    connection_.cache.attribute_timeout_ns = 0;  // the shortest period
    make_tree({.watches_content = true});
  }

  void make_tree(const passthrough::Tree::Options& options) {
    file_ = loop::UniqueFd(
        ::open((directory_.path() / "f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    loop::UniqueFd root(::open(directory_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    tree_ = passthrough::Tree::create(std::move(root), options).value();
    node_ = tree_->lookup(executor_, passthrough::kRootNode, "f").value().node;
    watch_.emplace(*context_, *tree_, connection_, identity_, transport_);
  }
  passthrough::FileHandleId open() {
    return tree_->open(executor_, node_, O_RDWR, std::nullopt).value();
  }
  void write_behind_the_mount() { ASSERT_EQ(::pwrite(file_.get(), "text", 4, 0), 4); }
  enum class Thread : std::uint8_t { kLoops, kWorkers };
  bool settle(Thread thread) {
    const OperationContext context{*tree_,
                                   executor_,
                                   connection_,
                                   closer_,
                                   transport_,
                                   lock_listener_,
                                   thread == Thread::kWorkers};
    return settle_pages(context, node_);
  }
  void expect_dropped(std::size_t times) {
    ASSERT_EQ(transport_.sent, times);
    if (times == 0) return;
    EXPECT_EQ(transport_.codes.back(), FUSE_NOTIFY_INVAL_INODE);
    fuse_notify_inval_inode_out out{};
    ASSERT_EQ(transport_.bodies.back().size(), sizeof out);
    std::memcpy(&out, transport_.bodies.back().data(), sizeof out);
    EXPECT_EQ(out.ino, node_);
    EXPECT_EQ(out.off, 0);
    EXPECT_EQ(out.len, 0) << "to the end";
  }

  testing::TempDir directory_;
  Connection connection_;
  passthrough::ProcessIdentity identity_ = passthrough::ProcessIdentity::take().value();
  passthrough::InlineExecutor executor_{identity_};
  InlineCloser closer_;
  NoLockListener lock_listener_;
  loop::UniqueFd file_;
  std::unique_ptr<passthrough::Tree> tree_;
  passthrough::NodeId node_ = 0;
  NotifiedTransport transport_;
  std::optional<PageWatch> watch_;
};

TEST_F(ClientPagesTest, ThereAreNoneOfWhatWasNeverOpened) {
  EXPECT_TRUE(settle(Thread::kLoops));
  write_behind_the_mount();
  EXPECT_TRUE(settle(Thread::kLoops));
  expect_dropped(0);
}

TEST_F(ClientPagesTest, AreDroppedByAWorkerOnly) {
  open();
  EXPECT_TRUE(settle(Thread::kLoops));
  write_behind_the_mount();
  EXPECT_FALSE(settle(Thread::kLoops));
  EXPECT_FALSE(settle(Thread::kLoops));
  expect_dropped(0);
  EXPECT_TRUE(settle(Thread::kWorkers));
  expect_dropped(1);
  EXPECT_TRUE(settle(Thread::kLoops));
  expect_dropped(1);
}

TEST_F(ClientPagesTest, SurviveWhatComesThroughTheMount) {
  const auto handle = open();
  ASSERT_TRUE(tree_->fallocate(executor_, handle, 0, 0, 8192, std::nullopt));
  EXPECT_TRUE(settle(Thread::kLoops));
  ASSERT_TRUE(tree_->change_attributes(executor_, node_, handle, {.size = 100}));
  EXPECT_TRUE(settle(Thread::kLoops));
  ASSERT_TRUE(tree_->change_attributes(executor_, node_, {}, {.mtime = timespec{1, 1}}));
  EXPECT_TRUE(settle(Thread::kLoops));
  ASSERT_TRUE(tree_->open(executor_, node_, O_RDWR | O_TRUNC, std::nullopt));
  EXPECT_TRUE(settle(Thread::kLoops));
  ASSERT_EQ(::pwrite(file_.get(), "text", 4, 0), 4);
  EXPECT_TRUE(settle(Thread::kWorkers));
  ASSERT_TRUE(
      tree_->copy_file_range(executor_, handle, 0, handle, 4096, 4, 0, std::nullopt).has_value());
  EXPECT_TRUE(settle(Thread::kLoops));
  expect_dropped(1);
}

TEST_F(ClientPagesTest, AreKeptWithoutAWordWhereNobodyWatches) {
  make_tree({});
  open();
  write_behind_the_mount();
  EXPECT_TRUE(settle(Thread::kLoops));
  watch_->begin();
  EXPECT_FALSE(poll_now()) << "no timer";
  expect_dropped(0);
}

TEST_F(ClientPagesTest, OfAnOpenFileAreDroppedThoughNobodyAsks) {
  const auto handle = open();
  watch_->begin();
  write_behind_the_mount();
  poll_until([&] { return transport_.sent == 1 && !poll_now(); });
  expect_dropped(1);
  write_behind_the_mount();
  poll_until([&] { return transport_.sent == 2 && !poll_now(); });
  expect_dropped(2);

  // What is closed can wait until somebody asks for it.
  tree_->release(handle);
  write_behind_the_mount();
  bool over = false;
  loop::Timer end(*context_, [&over] { over = true; });
  end.arm_in(300'000'000);
  poll_until([&over] { return over; });
  expect_dropped(2);
  EXPECT_FALSE(settle(Thread::kLoops));
}

TEST_F(ClientPagesTest, WrittenPastAreDroppedSoonAndOnceForMany) {
  PageDropper dropper(*context_, transport_);
  dropper.drop_soon(node_);
  for (int i = 0; i < 100; ++i) dropper.drop_soon(node_);  // while the first is on its way
  EXPECT_LE(transport_.sent, 1U) << "by a worker";
  poll_until([&] { return transport_.sent == 2 && !poll_now(); });
  expect_dropped(2);
  dropper.drop_soon(node_);
  poll_until([&] { return transport_.sent == 3 && !poll_now(); });
  expect_dropped(3);
}

}  // namespace
}  // namespace ouro::fs
