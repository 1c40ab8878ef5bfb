// Keeps the pages that the kernel's client has of files true to the source, where others change it
// (cache=auto). They survive every open() and every change that comes through the mount, and are
// dropped when somebody else has changed the file (passthrough/content_history.hpp): before a reply
// that shows it, and for those who read on in an open file without asking, as often as attributes
// may be cached.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/batched_job.hpp"
#include "fs/opcode_table.hpp"
#include "loop/aio_context.hpp"
#include "loop/timer.hpp"
#include "loop/worker_pool.hpp"
#include "passthrough/inline_executor.hpp"

namespace ouro::fs {

// Looks whether somebody else has changed the file; if so, the client's pages are dropped, for
// which only a worker may wait. False: ask again in one.
[[nodiscard]] bool settle_pages(const OperationContext& context, passthrough::NodeId node);

// Drops the pages of files that were written past them by who may hold some of them locked until he
// has the reply: after it, then. One per loop, in its thread, with a worker of its own; what waits
// is bounded by what is open.
class PageDropper final : private BatchedJob<passthrough::NodeId> {
 public:
  // Both outlive it.
  PageDropper(loop::AioContext& context, const Notifier& notifier)
      : BatchedJob(worker_), notifier_(notifier), worker_(context, 1) {}

  void drop_soon(passthrough::NodeId node);

 private:
  void work(std::vector<passthrough::NodeId>& nodes) override;

  const Notifier& notifier_;
  loop::WorkerPool worker_;
};

// Looks at the open files, as long as there are any. One per loop, in its thread; the work is done
// by a worker of its own, because what the client does with a notification waits for the loops.
class PageWatch final : private loop::Job {
 public:
  // All outlive it.
  PageWatch(loop::AioContext& context, passthrough::Tree& tree, const Connection& connection,
            const passthrough::ProcessIdentity& identity, const Notifier& notifier);

  // After an opening.
  void begin();
  // Whether that would change nothing.
  [[nodiscard]] bool is_on() const {
    return !tree_.watches_content() || running_ || timer_.armed();
  }

 private:
  void run() override;
  void done() override;

  passthrough::Tree& tree_;
  const Notifier& notifier_;
  passthrough::InlineExecutor executor_;  // the worker's
  const std::int64_t period_ns_;
  bool running_ = false;
  loop::Timer timer_;
  loop::WorkerPool worker_;
};

}  // namespace ouro::fs
