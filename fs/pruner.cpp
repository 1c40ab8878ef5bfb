#include "fs/pruner.hpp"

#include <cerrno>
#include <cstring>
#include <span>

#include "fs/protocol.hpp"

namespace ouro::fs {

void Pruner::begin() {
  nodes_ = tree_.oldest_with_descriptor(kMaxNodes);
  if (nodes_.empty()) return;
  running_ = true;
  worker_.submit(*this);
}

void Pruner::run() {
  const wire::NotifyPruneOut prune{static_cast<std::uint32_t>(nodes_.size()), 0, 0};
  std::vector<std::byte> message(sizeof prune + nodes_.size() * sizeof nodes_[0]);
  std::memcpy(message.data(), &prune, sizeof prune);
  std::memcpy(message.data() + sizeof prune, nodes_.data(), nodes_.size() * sizeof nodes_[0]);
  error_ = notifier_.notify(wire::kNotifyPrune, message);
}

void Pruner::done() {
  running_ = false;
  if (error_ == 0) pruned_ += nodes_.size();
  if (error_ == EINVAL) {  // KERNEL: of those before 6.18
    refused_ = true;
    log_(loop::LogLevel::kInfo,
         "the kernel cannot be asked to forget inodes: each that it caches holds an open file");
  }
  prune_if_crowded();  // there may be more by now
}

}  // namespace ouro::fs
