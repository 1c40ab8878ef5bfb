#include "fs/pruner.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fs/protocol.hpp"
#include "passthrough/inline_executor.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/notified_transport.hpp"

namespace ouro::fs {
namespace {

class PrunerTest : public testing::LoopTest {
 protected:
  static constexpr std::size_t kMay = 100;

  void SetUp() override {
    LoopTest::SetUp();
    passthrough::Tree::Options options;
    options.max_descriptors = kMay;
    options.file_handles = false;
    loop::UniqueFd root(::open(directory_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    tree_ = passthrough::Tree::create(std::move(root), options).value();
    pruner_.emplace(*context_, *tree_, transport_, sink_);
  }

  void look_up(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = std::to_string(next_++);
      ASSERT_EQ(::mknod((directory_.path() / name).c_str(), S_IFREG | 0644, 0), 0);
      nodes_.push_back(tree_->lookup(executor_, passthrough::kRootNode, name.c_str()).value().node);
    }
    pruner_->prune_if_crowded();
  }
  // Runs the loop until that many notifications have been sent, and dealt with.
  void expect_notifications(std::size_t count) {
    poll_until([&] { return transport_.sent >= count && !poll_now(); });
    EXPECT_EQ(transport_.sent, count);
  }
  // The nodes of a notification.
  [[nodiscard]] std::vector<std::uint64_t> nodes_in(std::size_t notification) const {
    const std::vector<std::byte>& body = transport_.bodies.at(notification);
    wire::NotifyPruneOut prune{};
    std::memcpy(&prune, body.data(), sizeof prune);
    std::vector<std::uint64_t> nodes(prune.count);
    EXPECT_EQ(body.size(), sizeof prune + nodes.size() * sizeof nodes[0]);
    std::memcpy(nodes.data(), body.data() + sizeof prune, nodes.size() * sizeof nodes[0]);
    return nodes;
  }

  testing::TempDir directory_;
  LogCapture log_;
  const loop::LogSink sink_ = log_.sink();
  passthrough::ProcessIdentity identity_ = passthrough::ProcessIdentity::take().value();
  passthrough::InlineExecutor executor_{identity_};
  std::unique_ptr<passthrough::Tree> tree_;
  NotifiedTransport transport_;
  std::optional<Pruner> pruner_;
  std::size_t next_ = 0;
  std::vector<passthrough::NodeId> nodes_;
};

TEST_F(PrunerTest, AsksForNothingWhileThereIsRoom) {
  look_up(kMay - 1);
  expect_notifications(0);
  EXPECT_EQ(pruner_->pruned(), 0U);
}

TEST_F(PrunerTest, AsksWhenThereAreTooManyAndAgainForFurtherOnes) {
  look_up(kMay);  // the root is one as well
  expect_notifications(1);
  EXPECT_EQ(transport_.codes[0], wire::kNotifyPrune);
  const auto first = nodes_in(0);
  EXPECT_EQ(first, std::vector<std::uint64_t>(nodes_.begin(), nodes_.begin() + 64))
      << "the oldest, and as many as are worth asking for";
  look_up(64);
  expect_notifications(1);
  look_up(1);
  expect_notifications(2);
  const auto second = nodes_in(1);
  EXPECT_EQ(second, std::vector<std::uint64_t>(nodes_.begin() + 64, nodes_.begin() + 128));
  EXPECT_EQ(pruner_->pruned(), first.size() + second.size());
}

TEST_F(PrunerTest, BeginsAnewWhenThereHasBeenRoom) {
  look_up(kMay);
  expect_notifications(1);
  for (const auto node : nodes_) tree_->forget(node, 1);
  EXPECT_FALSE(tree_->is_crowded());
  nodes_.clear();
  look_up(kMay - 1);
  expect_notifications(1);
  look_up(1);
  expect_notifications(2);
  const auto asked = nodes_in(1);
  const std::set<std::uint64_t> known(nodes_.begin(), nodes_.end());
  for (const std::uint64_t node : asked) EXPECT_EQ(known.count(node), 1U) << node;
}

TEST_F(PrunerTest, GivesUpOnAKernelThatDoesNotKnowIt) {
  transport_.answer = EINVAL;
  look_up(kMay);
  expect_notifications(1);
  EXPECT_TRUE(log_.has("cannot be asked to forget inodes"));
  look_up(200);
  expect_notifications(1);
  EXPECT_EQ(pruner_->pruned(), 0U);
}

// A node that the kernel has forgotten already, or a connection that has ended, is no reason.
TEST_F(PrunerTest, GoesOnAfterOtherErrors) {
  transport_.answer = ENOENT;
  look_up(kMay);
  expect_notifications(1);
  look_up(65);
  expect_notifications(2);
  EXPECT_FALSE(log_.has("forget"));
}

}  // namespace
}  // namespace ouro::fs
