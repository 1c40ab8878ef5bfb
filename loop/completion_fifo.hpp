// Completions that were reaped and not dispatched yet, oldest first: a ring buffer that grows to
// the largest batch there was and then allocates no more. A copy of the CQE goes with each, because
// a multishot handler can have several at once.
//
// Home thread of its context.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "loop/cqe_handler.hpp"

namespace ouro::loop {

class CompletionFifo {
 public:
  struct Item {
    CqeHandler* handler;
    Cqe cqe;
  };

  [[nodiscard]] bool empty() const { return first_ == end_; }
  [[nodiscard]] std::size_t size() const { return end_ - first_; }

  void push(CqeHandler& handler, const Cqe& cqe) {
    if (size() > mask_) grow();
    items_[end_++ & mask_] = {&handler, cqe};
    ++handler.ready_;
  }

  // There must be one.
  [[nodiscard]] Item pop() {
    const Item& item = items_[first_++ & mask_];
    --item.handler->ready_;
    return item;
  }

 private:
  static constexpr std::size_t kInitialItems = 64;  // a power of two, as after every growth

  void grow() {
    std::vector<Item> larger(items_.size() * 2);
    const std::size_t count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = items_[(first_ + i) & mask_];
    items_ = std::move(larger);
    mask_ = items_.size() - 1;
    first_ = 0;
    end_ = count;
  }

  std::vector<Item> items_ = std::vector<Item>(kInitialItems);
  std::size_t mask_ = kInitialItems - 1;
  // Counted up for ever; mask_ makes places of them.
  std::size_t first_ = 0;
  std::size_t end_ = 0;
};

}  // namespace ouro::loop
