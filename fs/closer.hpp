// Where an open file or an inode goes with its last reference: to close it can take long (what a
// network file system has not written yet, the blocks of a removed file). Which one a loop has is
// chosen once.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "fs/batched_job.hpp"
#include "loop/worker_pool.hpp"
#include "passthrough/file_handle.hpp"

namespace ouro::fs {

class Closer {
 public:
  // Lets go of `object` (null: nothing is done), now or soon. `file`: what it is, if it is an open
  // file and nothing else. The loop's thread.
  virtual void close(std::shared_ptr<const void> object,
                     const passthrough::FileHandle* file = nullptr) = 0;

 protected:
  ~Closer() = default;
};

// Here and now. Any thread, one object each.
class InlineCloser final : public Closer {
 public:
  void close(std::shared_ptr<const void> object,
             const passthrough::FileHandle* /*file*/ = nullptr) override {
    object.reset();
  }
};

// Here what cannot take long, and else in a worker of the loop's pool, one at a time: one that
// hangs delays other closes only, and what waits is bounded by what may be open. Outlives the pool,
// and closes what is left then.
class PoolCloser final : public Closer, private BatchedJob<std::shared_ptr<const void>> {
 public:
  explicit PoolCloser(loop::WorkerPool& pool) : BatchedJob(pool) {}

  void close(std::shared_ptr<const void> object,
             const passthrough::FileHandle* file = nullptr) override {
    if (object && (file == nullptr || !file->closes_at_once())) add(std::move(object));
  }

 private:
  void work(std::vector<std::shared_ptr<const void>>& batch) override {
    for (auto& object : batch) object.reset();
  }
};

}  // namespace ouro::fs
