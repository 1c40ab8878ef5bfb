// Serves the requests of one loop: looks up the opcode, runs the handler on its route, replies.
// One per loop, everything in the loop's thread but for what says otherwise.
//
// Routes and their bounds. Requests of the channel have a slot each while they run, up to its slots
// less the reserve; what comes beyond is parked, as a copy that holds no slot, so that
// FORGET, INTERRUPT and RELEASE always find one. Data requests run side by side. Metadata handlers
// may wait for the ring in a nested loop, one at a time: what comes meanwhile is deferred, in
// order, and when a wait lasts longer than kPatienceNs the deferred ones go to the worker pool, so
// that a held operation parks nobody. Where metadata waits like that, what has no SQE form goes to
// the pool at once, and so does what is closed. With an executor that refuses what can block,
// nothing waits here: handlers of Route::kLooks are tried, and run again in the pool if they were
// refused anything; the others go there at once. FORGET, INTERRUPT and RELEASE never wait and are
// served as long as ParkedRequests is not full.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fs/client_pages.hpp"
#include "fs/opcode_table.hpp"
#include "fs/parked_requests.hpp"
#include "fs/pruner.hpp"
#include "fs/transport.hpp"
#include "loop/aio_context.hpp"
#include "loop/intrusive_fifo.hpp"
#include "loop/log.hpp"
#include "loop/worker_pool.hpp"
#include "passthrough/inline_executor.hpp"
#include "passthrough/ring_executor.hpp"

namespace ouro::fs {

// The executors of a loop, chosen once from the mount's options.
struct Executors {
  passthrough::Executor& metadata;
  passthrough::AsyncExecutor& data;
  passthrough::RingExecutor* nested;  // `metadata` if it waits on the ring, else null
};

// What a server has done; read it in the loop's thread, or after that has ended.
struct ServerCounters {
  std::array<std::uint64_t, 64> requests_by_opcode{};
  std::uint64_t deferred = 0;
  std::uint64_t pooled = 0;
  std::uint64_t parked = 0;
  std::uint64_t lock_waits = 0;  // requests that were left to wait for a lock
  std::uint64_t interrupts = 0;
  std::uint64_t interrupted = 0;
  std::uint64_t replies_lost = 0;
};

// Tells every loop of a mount of an interrupt; implemented by the session.
class InterruptRelay {
 public:
  // `unique` was not found by the server that received its INTERRUPT. Any loop's thread.
  virtual void relay_interrupt(const Server& from, std::uint64_t unique) = 0;

 protected:
  ~InterruptRelay() = default;
};

// Answers the requests that have waited for a lock, from the thread of FileLocks. Their slots were
// given up before, so that no number of them holds up others.
class LockReplies final : public passthrough::LockListener {
 public:
  LockReplies(passthrough::FileLocks& locks, Transport& transport)
      : locks_(locks), transport_(transport) {}
  LockReplies(const LockReplies&) = delete;
  LockReplies& operator=(const LockReplies&) = delete;
  ~LockReplies() { abandon(); }

  void lock_wait_ended(std::uint64_t id, int errno_value) override {
    transport_.send_error(id, errno_value);
  }
  // False: no such request waits.
  bool interrupt(std::uint64_t unique) { return locks_.cancel(unique); }
  void abandon() { locks_.abandon(*this); }

 private:
  passthrough::FileLocks& locks_;
  Transport& transport_;
};

class Server final : public RequestSink {
 public:
  static constexpr std::int64_t kPatienceNs = 10'000'000;
  static constexpr unsigned kMaxWorkers = 64;
  static constexpr std::size_t kReservedSlots = 8;
  // As many may have been answered by workers before the loop is woken to take their slots back.
  static constexpr std::size_t kUnreported = 16;

  Server(loop::AioContext& context, Transport& transport, passthrough::Tree& tree,
         const Executors& executors, const Connection& connection, InterruptRelay& relay,
         loop::LogSink log);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Stops taking requests; finished() becomes true when those in progress are answered.
  void drain();
  [[nodiscard]] bool finished() const { return draining_ && active_ == nullptr && parked_.empty(); }
  // Whether every request is answered. Any thread.
  [[nodiscard]] bool idle() const {
    return active_count_.load(std::memory_order_relaxed) ==
           replied_count_.load(std::memory_order_relaxed);
  }
  // Why the kernel ended the connection, if it did.
  [[nodiscard]] std::optional<Disconnect> disconnected() const { return disconnected_; }
  // Asks this server for a request that another one was told to interrupt. Any thread.
  void post_interrupt(std::uint64_t unique);
  [[nodiscard]] const ServerCounters& counters() const { return counters_; }
  // Inodes that the kernel was asked to forget.
  [[nodiscard]] std::uint64_t pruned() const { return pruner_.pruned(); }

  // RequestSink.
  void on_request(Request& request) override;
  void on_reply_lost(Request& request) override;
  void on_finished(Request& request) override;
  void on_disconnect(Disconnect reason) override;

  // For Request.
  void finish_transfer(Request& request, loop::KernelResult result);
  void run_in_pool(Request& request);  // in a worker
  void finish_pooled(Request& request);

 private:
  using Queue = loop::IntrusiveFifo<Request, &Request::next_>;

  void add_active(Request& request);
  void remove_active(Request& request);
  [[nodiscard]] bool is_turned_away(const Request& request) const;
  void control(Request& request);
  void admit(Request& request);
  void park(Request& request);
  void start(Request& request);
  // How a request of that route is run here, once it has a slot.
  enum class Way : std::uint8_t { kHere, kInPool, kTransfer };
  [[nodiscard]] Way way_of(Route route) const;
  void begin_data(Request& request);
  void run_waiting(Request& request);
  void run_handler(Request& request);
  void defer(Request& request);
  void pool_deferred();
  void submit_to_pool(Request& request);
  [[nodiscard]] loop::WorkerPool& pool_of(const Request& request);
  void unpark();
  void read_on();
  void reply(Request& request, const Reply& result);
  void reply_error(Request& request, int errno_value);
  void send(Request& request);
  void leave_to_wait(Request& request);

  // Interrupts (server_interrupts.cpp).
  void interrupt(std::uint64_t unique);
  [[nodiscard]] bool interrupt_own(std::uint64_t unique);
  [[nodiscard]] bool interrupt_parked(std::uint64_t unique);
  void interrupt_request(Request& request);
  void take_posted_interrupts();
  [[nodiscard]] bool take_early_interrupt(std::uint64_t unique);

  loop::AioContext& context_;
  Transport& transport_;
  const Executors executors_;
  InlineCloser closer_;
  LockReplies lock_replies_;  // before the pool, which may begin waits
  OperationContext operation_;
  InterruptRelay& relay_;
  const loop::LogSink log_;

  bool draining_ = false;
  std::optional<Disconnect> disconnected_;
  Request* active_ = nullptr;                   // requests in progress, doubly linked, newest first
  std::atomic<std::size_t> active_count_ = 0;   // written by the loop's thread only
  std::atomic<std::size_t> replied_count_ = 0;  // of these, by workers, and not yet ended here
  std::size_t in_pool_ = 0;                     // not yet ended here
  ParkedRequests parked_;
  Queue deferred_;
  Request* waiting_ = nullptr;  // whose handler is in a nested wait
  std::int64_t wait_started_ns_ = 0;
  loop::Timer patience_;
  PoolCloser pool_closer_;  // before the pool, which it gives a job to
  loop::WorkerPool pool_;
  loop::WorkerPool near_pool_;
  Pruner pruner_;
  PageDropper page_dropper_;
  PageWatch page_watch_;

  static constexpr std::size_t kEarlyInterrupts = 64;
  std::array<std::uint64_t, kEarlyInterrupts> early_interrupts_{};  // a ring of targets not found
  std::size_t next_early_ = 0;
  std::mutex posted_mutex_;
  std::vector<std::uint64_t> posted_interrupts_;  // guarded by posted_mutex_
  loop::BottomHalf posted_bh_;

  ServerCounters counters_;
};

}  // namespace ouro::fs
