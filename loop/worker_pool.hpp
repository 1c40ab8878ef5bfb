// A few threads for work that has no SQE form and can block, with completion in the home thread.
//
// Home thread: construct, submit, cancel, destroy. A Job belongs to the caller from construction on
// and must stay alive until done() is entered. The owner bounds how many are queued; the pool
// bounds the threads, which are started when they are needed.
#pragma once

#include <sched.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
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
  // Within run(): nobody waits for done() any more, so it may come when the home thread is awake
  // anyway.
  void be_done_in_passing() { in_passing_ = true; }

 private:
  friend class WorkerPool;
  Job* next_ = nullptr;
  bool in_passing_ = false;
};

// Where workers run: on any CPU where the home thread might run when it made the pool, wherever
// that is pinned later; or on the one where the home thread is, for short jobs after which it has
// nothing else to do: to wake an idle CPU takes longer than they do.
enum class Placement : std::uint8_t { kAnywhere, kBesideHome };

class WorkerPool {
 public:
  static constexpr std::size_t kMaxQueued = 4096;

  WorkerPool(AioContext& home, unsigned max_threads, Placement placement = Placement::kAnywhere,
             std::size_t max_queued = kMaxQueued);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  // Waits for the jobs that run, and drops those that have not begun or are not done().
  ~WorkerPool();

  // False if `max_queued` jobs wait already: the job is still the caller's, who may try again when
  // another one is done().
  [[nodiscard]] bool try_submit(Job& job);
  // For an owner whose jobs are bounded anyway: there must be room.
  void submit(Job& job);
  // From now on done() comes as soon as may be, whatever a job has said.
  void hurry();
  // Takes a submitted job back: true if it had not begun, and then neither run() nor done() comes.
  [[nodiscard]] bool cancel(Job& job);

 private:
  void work();
  void move_beside_home();
  void finish();
  void hand_back(Job& job);

  const unsigned max_threads_;
  const std::size_t max_queued_;
  const Placement placement_;
  cpu_set_t cpus_;
  BottomHalf finish_bh_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_:
  IntrusiveFifo<Job, &Job::next_> queued_;
  IntrusiveFifo<Job, &Job::next_> finished_;
  unsigned idle_ = 0;
  bool stopping_ = false;
  bool in_a_hurry_ = false;

  // Home thread only:
  std::vector<std::thread> threads_;
  std::size_t placed_threads_ = 0;  // the first so many run on placed_cpu_
  int placed_cpu_ = -1;
};

}  // namespace ouro::loop
