// Objects named by 64-bit ids that the kernel can hold for long: index + generation, never a
// pointer. An id that was removed is never valid again, even when its place is used anew.
//
// Any thread: sharded locks, held for the lookup only. find() gives a reference that keeps the
// object alive whatever happens to its id meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ouro::passthrough {

template <typename T>
class SlotTable {
 public:
  // Never returns 0.
  [[nodiscard]] std::uint64_t insert(std::shared_ptr<T> object) {
    const auto shard_index = static_cast<std::uint32_t>(next_shard_++ % kShards);
    Shard& shard = shards_[shard_index];
    const std::lock_guard lock(shard.mutex);
    if (shard.free.empty()) {
      shard.free.push_back(static_cast<std::uint32_t>(shard.slots.size()));
      shard.slots.emplace_back();
    }
    const std::uint32_t place = shard.free.back();
    shard.free.pop_back();
    Slot& slot = shard.slots[place];
    slot.object = std::move(object);
    return std::uint64_t{slot.generation} << 32 | (place * kShards + shard_index);
  }

  // The object, or null if `id` is not valid.
  [[nodiscard]] std::shared_ptr<T> find(std::uint64_t id) const {
    const Shard& shard = shards_[id % kShards];
    const std::lock_guard lock(shard.mutex);
    const Slot* slot = shard.at(id);
    return slot != nullptr ? slot->object : nullptr;
  }

  // Takes the object out; null if `id` is not valid.
  std::shared_ptr<T> remove(std::uint64_t id) {
    Shard& shard = shards_[id % kShards];
    const std::lock_guard lock(shard.mutex);
    auto* slot = const_cast<Slot*>(shard.at(id));
    if (slot == nullptr) return nullptr;
    // Room first: what cannot be recycled must not be lost.
    shard.free.push_back(static_cast<std::uint32_t>(id & 0xffffffffU) / kShards);
    if (++slot->generation == 0) slot->generation = 1;
    return std::exchange(slot->object, nullptr);
  }

  // Calls `look` for each object, with a lock held: it must do little, and nothing with this table.
  template <typename Look>
  void for_each(Look look) const {
    for (const Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (const Slot& slot : shard.slots) {
        if (slot.object) look(*slot.object);
      }
    }
  }

  [[nodiscard]] std::size_t size() const {
    std::size_t count = 0;
    for (const Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      count += shard.slots.size() - shard.free.size();
    }
    return count;
  }

 private:
  static constexpr std::uint32_t kShards = 8;

  struct Slot {
    std::shared_ptr<T> object;
    std::uint32_t generation = 1;
  };
  struct Shard {
    // The slot that `id` names now, or nullptr.
    [[nodiscard]] const Slot* at(std::uint64_t id) const {
      const std::uint32_t place = static_cast<std::uint32_t>(id & 0xffffffffU) / kShards;
      if (place >= slots.size()) return nullptr;
      const Slot& slot = slots[place];
      return slot.object && slot.generation == id >> 32 ? &slot : nullptr;
    }
    mutable std::mutex mutex;
    std::vector<Slot> slots;
    std::vector<std::uint32_t> free;
  };

  std::array<Shard, kShards> shards_;
  std::atomic<std::uint32_t> next_shard_ = 0;
};

}  // namespace ouro::passthrough
