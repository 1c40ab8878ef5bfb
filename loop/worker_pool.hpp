// A few threads for work that has no SQE form and can block, with completion in the home thread.
//
// Home thread: construct, submit, cancel, destroy. A Job belongs to the caller from construction on
// and must stay alive until done() is entered. The owner bounds how many are queued; the pool
// bounds the threads, which are started when they are needed, and run on the CPUs where the home
// thread might run when it made the pool, wherever that is pinned later.
#pragma once

#include <sched.h>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "loop/aio_context.hpp"
#include "loop/intrusive_fifo.hpp"

namespace ouro::loop {

class Job {
 public:
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

 protected:
  Job() = default;
  ~Job() = default;

  virtual void run() = 0;   // in a worker
  virtual void done() = 0;  // in the home thread, after run(); may free or resubmit the job

 private:
  friend class WorkerPool;
  Job* next_ = nullptr;
};

class WorkerPool {
 public:
  static constexpr std::size_t kMaxQueued = 4096;

  WorkerPool(AioContext& home, unsigned max_threads, std::size_t max_queued = kMaxQueued);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  // Waits for the jobs that run, and drops those that have not begun or are not done().
  ~WorkerPool();

  // False if `max_queued` jobs wait already: the job is still the caller's, who may try again when
  // another one is done().
  [[nodiscard]] bool try_submit(Job& job);
  // For an owner whose jobs are bounded anyway: there must be room.
  void submit(Job& job);
  // Takes a submitted job back: true if it had not begun, and then neither run() nor done() comes.
  [[nodiscard]] bool cancel(Job& job);

 private:
  void work();
  void finish();

  const unsigned max_threads_;
  const std::size_t max_queued_;
  cpu_set_t cpus_;
  BottomHalf finish_bh_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_:
  IntrusiveFifo<Job, &Job::next_> queued_;
  IntrusiveFifo<Job, &Job::next_> finished_;
  unsigned idle_ = 0;
  bool stopping_ = false;

  std::vector<std::thread> threads_;  // home thread only
};

}  // namespace ouro::loop
