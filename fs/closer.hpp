// Where an open file or an inode goes with its last reference: to close it can take long (what a
// network file system has not written yet, the blocks of a removed file). Which one a loop has is
// chosen once.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "loop/worker_pool.hpp"

namespace ouro::fs {

class Closer {
 public:
  // Lets go of `object` (null: nothing is done), now or soon. The loop's thread.
  virtual void close(std::shared_ptr<const void> object) = 0;

 protected:
  ~Closer() = default;
};

// Here and now. Any thread, one object each.
class InlineCloser final : public Closer {
 public:
  void close(std::shared_ptr<const void> object) override { object.reset(); }
};

// In a worker of the loop's pool, one at a time: one that hangs delays other closes only, and what
// waits is bounded by what may be open. Outlives the pool, and closes what is left then.
class PoolCloser final : public Closer, private loop::Job {
 public:
  explicit PoolCloser(loop::WorkerPool& pool) : pool_(pool) {}

  void close(std::shared_ptr<const void> object) override {
    if (!object) return;
    waiting_.push_back(std::move(object));
    if (closing_.empty()) begin();
  }

 private:
  void begin() {
    closing_.swap(waiting_);
    pool_.submit(*this);
  }
  void run() override {
    for (auto& object : closing_) object.reset();
  }
  void done() override {
    closing_.clear();
    if (!waiting_.empty()) begin();
  }

  loop::WorkerPool& pool_;
  std::vector<std::shared_ptr<const void>> waiting_;
  std::vector<std::shared_ptr<const void>> closing_;  // the worker's while the job is in the pool
};

}  // namespace ouro::fs
