#include "passthrough/inode_table.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "loop/invariant.hpp"
#include "passthrough/durable_ids.hpp"

namespace ouro::passthrough {
namespace {

constexpr std::uint32_t kRootIndex = 0;
// How many descriptors it is worth to ask the kernel for.
constexpr std::size_t kSmallestStep = 64;
constexpr std::uint32_t kLastGeneration = std::numeric_limits<std::uint32_t>::max();
// So that no id of the table looks like a durable one.
constexpr std::size_t kMostSlots = 0x7fffffff;

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

InodeTable::InodeTable(Inode root, Watermark watermark, std::size_t max_descriptors,
                       std::size_t scarce_from, IoModes io_modes)
    : root_(root.key),
      max_descriptors_(max_descriptors),
      scarce_from_(scarce_from),
      io_modes_(io_modes),
      watermark_(std::move(watermark)),
      wants_room_above_(max_descriptors) {
  by_key_.emplace(root.key, kRootIndex);
  fill(slots_.emplace_back(), std::move(root));
}

NodeId InodeTable::node_id(std::size_t index) const {
  const Slot& slot = slots_[index];
  if (slot.inode->durable_id != 0) return slot.inode->durable_id;
  return std::uint64_t{slot.generation} << 32 | (std::uint64_t{index} + 1);
}

const InodeTable::Slot* InodeTable::slot_of(NodeId node) const {
  if (DurableIds::is_durable(node)) {
    const auto known = by_key_.find({root_.device, DurableIds::inode_number(node), root_.mount});
    if (known != by_key_.end() && slots_[known->second].inode->durable_id == node) {
      return &slots_[known->second];
    }
    const auto outlived = outlived_.find(node);
    return outlived != outlived_.end() ? &slots_[outlived->second] : nullptr;
  }
  const std::uint64_t index = (node & 0xffffffffU) - 1;  // 0 becomes too large
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  const bool is_named_so = slot.inode && slot.inode->durable_id == 0;
  return is_named_so && slot.generation == node >> 32 ? &slot : nullptr;
}

bool InodeTable::holds_by_handle(const FileKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto known = by_key_.find(key);
  return known != by_key_.end() && slots_[known->second].inode->held_by_handle();
}

NodeId InodeTable::intern(Inode inode) {
  return *insert(inode, WithoutHandle::kIsTaken);
}

std::optional<NodeId> InodeTable::try_intern(Inode& inode) {
  return insert(inode, WithoutHandle::kIsRefused);
}

std::optional<NodeId> InodeTable::insert(Inode& inode, WithoutHandle without_handle) {
  loop::UniqueFd spare;  // closed outside the lock
  bool full = false;
  std::uint32_t index = 0;
  NodeId node = 0;
  {
    const std::lock_guard lock(mutex_);
    note_scarcity(inode.path_fd.get());
    const auto known = by_key_.find(inode.key);
    const Inode* const there = known != by_key_.end() ? slots_[known->second].inode.get() : nullptr;
    const bool wants_handle = there != nullptr
                                  ? there->held_by_handle()
                                  : descriptors() >= limit() || names_durably(inode.key);
    if (wants_handle && !inode.handle && without_handle == WithoutHandle::kIsRefused) return {};
    // Of a file that is no more; its slot stays until it is forgotten.
    const bool is_another = there != nullptr && there->held_by_handle() && inode.handle &&
                            there->handle != inode.handle;
    if (there == nullptr || is_another) {
      if (descriptors() < limit()) {
        inode.handle.reset();
      } else if (inode.handle) {
        spare = std::move(inode.path_fd);
      }
      if (is_another && there->durable_id != 0) {
        outlived_.emplace(there->durable_id, known->second);
      }
      index = take_slot();
      by_key_[inode.key] = index;
      fill(slots_[index], std::move(inode));
      note_crowding();
    } else {
      index = known->second;
    }
    ++slots_[index].lookups;
    node = node_id(index);
    full = watermark_reached();
  }
  if (full) watermark_.reached();
  return node;
}

void InodeTable::hold(const FileKey& key, const SourceHandle& handle, loop::UniqueFd path_fd) {
  InodeRef before;  // dies outside the lock
  const std::lock_guard lock(mutex_);
  const auto known = by_key_.find(key);
  if (known == by_key_.end()) return;
  Slot& slot = slots_[known->second];
  if (slot.inode->handle != handle) return;
  before = empty(slot);
  fill(slot, {key,
              before->type,
              std::move(path_fd),
              {},
              before->content,
              before->io_mode,
              before->durable_id});
}

std::uint32_t InodeTable::take_slot() {
  if (free_.empty()) {
    loop::invariant(slots_.size() < kMostSlots, "inode table full");
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  return index;
}

void InodeTable::fill(Slot& slot, Inode inode) {
  ++known_;
  if (inode.held_by_handle()) held_by_handle_.fetch_add(1, std::memory_order_relaxed);
  if (S_ISREG(inode.type) && !inode.content) {
    inode.content = std::make_shared<ContentHistory>();
    if (io_modes_ == IoModes::kKept) inode.io_mode = std::make_shared<IoMode>();
  }
  slot.inode = std::make_shared<const Inode>(std::move(inode));
}

InodeRef InodeTable::empty(Slot& slot) {
  --known_;
  if (slot.inode->held_by_handle()) held_by_handle_.fetch_sub(1, std::memory_order_relaxed);
  return std::exchange(slot.inode, nullptr);
}

void InodeTable::note_crowding() {
  crowded_.store(descriptors() > limit(), std::memory_order_relaxed);
  const bool full = is_scarce() ? descriptors() >= scarce_at_ + kSmallestStep / 2
                                : descriptors() / 3 > limit() / 2;
  if (!full) waiting_helps_ = true;
  full_.store(full && waiting_helps_, std::memory_order_relaxed);
  if (!is_full()) room_.notify_all();
  if (!is_crowded()) {
    wants_room_above_ = limit();
    return;
  }
  const std::size_t step = is_scarce() ? kSmallestStep / 4 : std::max(limit() / 8, kSmallestStep);
  const std::size_t next = descriptors() + step;
  if (descriptors() > wants_room_above_) {
    wants_room_above_ = next;
    wants_room_.store(true, std::memory_order_relaxed);
  }
  wants_room_above_ = std::min(wants_room_above_, next);  // when it has become less
}

void InodeTable::note_scarcity(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) < scarce_from_) {
    scarce_at_ = kNoLimit;
  } else if (!is_scarce()) {
    scarce_at_ = descriptors();
    wants_room_above_ = std::min(wants_room_above_, limit());
  }
}

std::size_t InodeTable::limit() const {
  return is_scarce() ? std::min(max_descriptors_, scarce_at_ - scarce_at_ / 8) : max_descriptors_;
}

void InodeTable::wait_for_room(std::chrono::nanoseconds limit) {
  std::unique_lock lock(mutex_);
  if (room_.wait_for(lock, limit, [this] { return !is_full(); })) return;
  waiting_helps_ = false;
  note_crowding();
}

std::vector<NodeId> InodeTable::oldest_with_descriptor(std::size_t count) {
  std::vector<NodeId> nodes;
  const std::lock_guard lock(mutex_);
  count = std::min(count, std::max(descriptors() / 4, kSmallestStep));
  for (std::size_t looked = 0; looked < slots_.size() && nodes.size() < count; ++looked) {
    hand_ = (hand_ + 1) % slots_.size();
    const Slot& slot = slots_[hand_];
    const bool is_ours = slot.inode.use_count() > 1;  // as an open file's
    if (hand_ == kRootIndex || !slot.inode || slot.inode->held_by_handle() || is_ours) continue;
    nodes.push_back(node_id(hand_));
  }
  return nodes;
}

bool InodeTable::watermark_reached() {
  if (descriptors() < watermark_.descriptors) return false;
  watermark_.descriptors = kNoLimit;
  return true;
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
  const auto index = static_cast<std::uint32_t>(slot - slots_.data());
  InodeRef last = empty(*slot);
  note_crowding();
  const auto known = by_key_.find(last->key);
  if (known != by_key_.end() && known->second == index) {
    by_key_.erase(known);
  } else {
    outlived_.erase(node);
  }
  // An id must never come back, so a slot that has used up its generations is given up.
  if (slot->generation == kLastGeneration) return last;
  ++slot->generation;
  free_.push_back(index);
  return last;
}

std::size_t InodeTable::size() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

std::uint64_t InodeTable::lookups(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = slot_of(node);
  return slot != nullptr ? slot->lookups : 0;
}

}  // namespace ouro::passthrough
