#include "loop/worker_pool.hpp"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "loop/invariant.hpp"

namespace ouro::loop {

WorkerPool::WorkerPool(AioContext& home, unsigned max_threads, Placement placement,
                       std::size_t max_queued)
    : max_threads_(max_threads),
      max_queued_(max_queued),
      placement_(placement),
      finish_bh_(home, [this] { finish(); }) {
  CPU_ZERO(&cpus_);
  (void)::sched_getaffinity(0, sizeof cpus_, &cpus_);
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::submit(Job& job) {
  invariant(try_submit(job), "more jobs wait in a worker pool than it was made for");
}

bool WorkerPool::try_submit(Job& job) {
  bool needs_thread = false;
  job.in_passing_ = false;
  {
    const std::lock_guard lock(mutex_);
    if (queued_.size() >= max_queued_) return false;
    queued_.push(job);
    needs_thread = queued_.size() > idle_ && threads_.size() < max_threads_;
  }
  if (needs_thread) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // EAGAIN: RLIMIT_NPROC or pids.max. Those that run will come to it; without any, it is
      // done here, late but done.
      if (threads_.empty()) {
        {
          const std::lock_guard lock(mutex_);
          queued_.remove(job);
        }
        job.run();
        const std::lock_guard lock(mutex_);
        hand_back(job);
        return true;
      }
    }
  }
  if (placement_ == Placement::kBesideHome) move_beside_home();
  wake_.notify_one();
  return true;
}

void WorkerPool::move_beside_home() {
  const int cpu = ::sched_getcpu();
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  if (std::exchange(placed_cpu_, cpu) != cpu) placed_threads_ = 0;
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(static_cast<unsigned>(cpu), &here);
  for (; placed_threads_ < threads_.size(); ++placed_threads_) {
    // One that cannot be moved is slower, no more.
    (void)::pthread_setaffinity_np(threads_[placed_threads_].native_handle(), sizeof here, &here);
  }
}

bool WorkerPool::cancel(Job& job) {
  const std::lock_guard lock(mutex_);
  return queued_.remove(job);
}

void WorkerPool::work() {
  // Refused if there are none of them, as where the machine has more CPUs than fit: then it runs
  // where its creator does.
  if (placement_ == Placement::kAnywhere) (void)::sched_setaffinity(0, sizeof cpus_, &cpus_);
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || !queued_.empty(); });
    --idle_;
    if (stopping_) return;
    Job* job = queued_.pop();
    lock.unlock();
    job->run();
    lock.lock();
    hand_back(*job);
  }
}

void WorkerPool::hurry() {
  const std::lock_guard lock(mutex_);
  in_a_hurry_ = true;
  if (!finished_.empty()) finish_bh_.schedule();
}

// With the lock held.
void WorkerPool::hand_back(Job& job) {
  const bool in_passing = job.in_passing_ && !in_a_hurry_;
  finished_.push(job);
  in_passing ? finish_bh_.schedule_in_passing() : finish_bh_.schedule();
}

void WorkerPool::finish() {
  Job* job = nullptr;
  {
    const std::lock_guard lock(mutex_);
    job = finished_.pop();
    // One job per run, the next one scheduled before done(): a loop nested there must find it.
    if (!finished_.empty()) finish_bh_.schedule();
  }
  if (job != nullptr) job->done();
}

}  // namespace ouro::loop
