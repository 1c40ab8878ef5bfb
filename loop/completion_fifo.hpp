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

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }

  void push(CqeHandler& handler, const Cqe& cqe) {
    if (size_ == items_.size()) grow();
    items_[(first_ + size_) & (items_.size() - 1)] = {&handler, cqe};
    ++size_;
    ++handler.ready_;
  }

  // There must be one.
  [[nodiscard]] Item pop() {
    const Item& item = items_[first_];
    first_ = (first_ + 1) & (items_.size() - 1);
    --size_;
    --item.handler->ready_;
    return item;
  }

 private:
  static constexpr std::size_t kInitialItems = 64;  // a power of two, as after every growth

  void grow() {
    std::vector<Item> larger(items_.empty() ? kInitialItems : items_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) larger[i] = items_[(first_ + i) & (items_.size() - 1)];
    items_ = std::move(larger);
    first_ = 0;
  }

  std::vector<Item> items_;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace ouro::loop
