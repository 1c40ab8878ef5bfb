// Work on many small things that is done by a worker in batches: what is added while one is with
// the worker makes the next, so that there is one job at a time however much there is to do.
//
// The loop's thread, but for work(). What waits is bounded by its user. The pool ends first.
#pragma once

#include <utility>
#include <vector>

#include "loop/worker_pool.hpp"

namespace ouro::fs {

template <typename Item>
class BatchedJob : private loop::Job {
 protected:
  explicit BatchedJob(loop::WorkerPool& pool) : pool_(pool) {}
  ~BatchedJob() = default;

  void add(Item item) {
    waiting_.push_back(std::move(item));
    if (batch_.empty()) begin();
  }
  [[nodiscard]] const std::vector<Item>& waiting() const { return waiting_; }

 private:
  // In a worker.
  virtual void work(std::vector<Item>& batch) = 0;

  void begin() {
    batch_.swap(waiting_);
    pool_.submit(*this);
  }
  void run() override { work(batch_); }
  void done() override {
    batch_.clear();
    if (!waiting_.empty()) begin();
  }

  loop::WorkerPool& pool_;
  std::vector<Item> waiting_;
  std::vector<Item> batch_;  // the worker's while the job is in the pool
};

}  // namespace ouro::fs
