// INTERRUPT: finding the request it means, on whichever loop that is, and ending it early only
// where the native file system would be ended too.
#include <sys/types.h>

#include <algorithm>

#include "fs/server.hpp"
#include "passthrough/task_status.hpp"

namespace ouro::fs {
namespace {

// Natively a wait for a lock ends with any signal that its caller takes.
bool must_end(const fuse_in_header& header) {
  return header.opcode == FUSE_SETLKW ||
         passthrough::is_being_killed(static_cast<pid_t>(header.pid));
}

}  // namespace

void Server::interrupt(std::uint64_t unique) {
  ++counters_.interrupts;
  if (interrupt_own(unique)) return;
  relay_.relay_interrupt(*this, unique);
}

void Server::post_interrupt(std::uint64_t unique) {
  {
    const std::lock_guard lock(posted_mutex_);
    posted_interrupts_.push_back(unique);
  }
  posted_bh_.schedule();
}

void Server::take_posted_interrupts() {
  std::vector<std::uint64_t> posted;
  {
    const std::lock_guard lock(posted_mutex_);
    posted.swap(posted_interrupts_);
  }
  for (const std::uint64_t unique : posted) (void)interrupt_own(unique);
}

bool Server::interrupt_own(std::uint64_t unique) {
  for (Request* request = active_; request != nullptr; request = request->next_active_) {
    if (request->header().unique != unique) continue;
    interrupt_request(*request);
    return true;
  }
  if (interrupt_parked(unique)) return true;
  if (lock_replies_.interrupt(unique)) {
    ++counters_.interrupted;
    return true;
  }
  // Answered already, served by another loop, or not read yet: only in the last case will it
  // come up again here. Unique ids are not reused, so what stays remembered does no harm.
  early_interrupts_[next_early_++ % kEarlyInterrupts] = unique;
  return false;
}

bool Server::interrupt_parked(std::uint64_t unique) {
  const auto header = parked_.find(unique);
  if (!header) return false;
  if (!must_end(*header)) return true;
  ++counters_.interrupted;
  parked_.remove(unique);
  read_on();
  transport_.send_error(unique, EINTR);
  return true;
}

void Server::interrupt_request(Request& request) {
  if (!must_end(request.header())) return;
  ++counters_.interrupted;
  switch (request.stage_) {
    case Request::Stage::kDeferred:
      if (deferred_.remove(request)) reply_error(request, EINTR);
      return;
    case Request::Stage::kTransfer:
      return request.transfer().abandon();
    case Request::Stage::kWaiting:
      if (executors_.nested != nullptr) executors_.nested->abandon_wait();
      return;
    case Request::Stage::kPooled:
      // What has begun ends with its system call, or with the wait for a lock that it begins.
      request.interrupted_ = true;
      if (request.row_->route == Route::kData) return;  // done, but for its end
      if (!pool_of(request).cancel(request)) return;
      --in_pool_;
      return reply_error(request, EINTR);
    case Request::Stage::kIdle:
      return;  // a reply on its way
  }
}

bool Server::take_early_interrupt(std::uint64_t unique) {
  auto* found = std::find(early_interrupts_.begin(), early_interrupts_.end(), unique);
  if (unique == 0 || found == early_interrupts_.end()) return false;
  *found = 0;
  return true;
}

}  // namespace ouro::fs
