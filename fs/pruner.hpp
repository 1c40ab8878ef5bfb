// Asks the kernel to forget inodes that nobody uses, where more of them hold a descriptor than may
// (Tree::Options::max_descriptors) and file handles cannot be had. The FORGETs that follow give the
// descriptors back.
//
// One per loop, in the loop's thread. The kernel is told from a worker: no thread that serves
// requests may wait for what the kernel does with a notification.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "fs/transport.hpp"
#include "loop/log.hpp"
#include "loop/worker_pool.hpp"
#include "passthrough/tree.hpp"

namespace ouro::fs {

class Pruner final : private loop::Job {
 public:
  // Nodes in one notification.
  static constexpr std::size_t kMaxNodes = 512;

  // All outlive it.
  Pruner(loop::AioContext& context, passthrough::Tree& tree, const Notifier& notifier,
         const loop::LogSink& log)
      : tree_(tree), notifier_(notifier), log_(log), worker_(context, 1) {}

  // After anything that may have added inodes.
  void prune_if_crowded() {
    if (!running_ && !refused_ && tree_.take_crowding()) begin();
  }
  [[nodiscard]] std::uint64_t pruned() const { return pruned_; }

 private:
  void begin();
  void run() override;
  void done() override;

  passthrough::Tree& tree_;
  const Notifier& notifier_;
  const loop::LogSink& log_;
  bool running_ = false;
  bool refused_ = false;      // the kernel does not know the notification
  std::uint64_t pruned_ = 0;  // nodes that the kernel was asked to forget
  // The worker's while the job is in the pool:
  std::vector<passthrough::NodeId> nodes_;
  int error_ = 0;
  loop::WorkerPool worker_;  // a pool may be busy with requests that wait for this
};

}  // namespace ouro::fs
