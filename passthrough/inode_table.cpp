#include "passthrough/inode_table.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "loop/invariant.hpp"

namespace ouro::passthrough {
namespace {

constexpr std::uint32_t kRootIndex = 0;
constexpr std::uint32_t kLastGeneration = std::numeric_limits<std::uint32_t>::max();

// The finalizer of splitmix64: every bit of the input reaches every bit of the result.
constexpr std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
  value = (value ^ value >> 27) * 0x94d049bb133111ebU;
  return value ^ value >> 31;
}

}  // namespace

std::size_t InodeTable::KeyHash::operator()(const FileKey& key) const noexcept {
  return mix(key.inode ^ mix(key.device ^ mix(key.mount)));
}

InodeTable::InodeTable(Inode root, Watermark watermark) : watermark_(std::move(watermark)) {
  by_key_.emplace(root.key, kRootIndex);
  slots_.push_back({std::make_shared<const Inode>(std::move(root)), 0, 0});
}

NodeId InodeTable::node_id(std::uint32_t index, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | (std::uint64_t{index} + 1);
}

const InodeTable::Slot* InodeTable::slot_of(NodeId node) const {
  const std::uint64_t index = (node & 0xffffffffU) - 1;  // 0 becomes too large
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  return slot.inode && slot.generation == node >> 32 ? &slot : nullptr;
}

NodeId InodeTable::intern(Inode inode) {
  const auto [node, full] = insert(std::move(inode));
  if (full) watermark_.reached();
  return node;
}

std::pair<NodeId, bool> InodeTable::insert(Inode inode) {
  const std::lock_guard lock(mutex_);
  const auto [known, inserted] = by_key_.try_emplace(inode.key);
  if (inserted) {
    if (free_.empty()) {
      loop::invariant(slots_.size() < std::numeric_limits<std::uint32_t>::max(),
                      "inode table full");
      free_.push_back(static_cast<std::uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    known->second = free_.back();
    free_.pop_back();
    slots_[known->second].inode = std::make_shared<const Inode>(std::move(inode));
  }
  Slot& slot = slots_[known->second];
  ++slot.lookups;
  const bool full = by_key_.size() >= watermark_.inodes;
  if (full) watermark_.inodes = Watermark().inodes;
  return {node_id(known->second, slot.generation), full};
}

loop::Result<InodeRef> InodeTable::find(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = slot_of(node);
  if (slot == nullptr) return loop::fail(ESTALE);
  return slot->inode;
}

InodeRef InodeTable::forget(NodeId node, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  auto* slot = const_cast<Slot*>(slot_of(node));
  if (slot == nullptr) return nullptr;
  slot->lookups -= std::min(slot->lookups, count);
  if (slot->lookups > 0 || node == kRootNode) return nullptr;
  by_key_.erase(slot->inode->key);
  InodeRef last = std::exchange(slot->inode, nullptr);
  // An id must never come back, so a slot that has used up its generations is given up.
  if (slot->generation == kLastGeneration) return last;
  ++slot->generation;
  free_.push_back(static_cast<std::uint32_t>(slot - slots_.data()));
  return last;
}

std::size_t InodeTable::size() const {
  const std::lock_guard lock(mutex_);
  return by_key_.size();
}

std::uint64_t InodeTable::lookups(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = slot_of(node);
  return slot != nullptr ? slot->lookups : 0;
}

}  // namespace ouro::passthrough
