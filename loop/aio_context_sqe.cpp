// SQEs and completions of an AioContext: from a handler to the queue of the ring, and back.
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "loop/aio_context.hpp"
#include "loop/invariant.hpp"
#include "loop/tsan.hpp"

namespace ouro::loop {
namespace {

constexpr std::uint8_t kSkipsSuccess = IOSQE_CQE_SKIP_SUCCESS;

}  // namespace

// --- there ---------------------------------------------------------------------------------------

void AioContext::reserve_chain(std::size_t links) {
  invariant(has_io_uring() && links <= ring_->sq_entries(), "a chain is longer than the queue");
  // KERNEL: a chain ends where its submission ends, so all of it must go at once.
  while (ring_->sq_space() < links) enter_ring(0);
}

void AioContext::commit_link(io_uring_sqe& sqe, std::span<CqeHandler* const> handlers,
                             std::size_t at) {
  CqeHandler& handler = *handlers[at];
  const bool last = at + 1 == handlers.size();
  if (!last && (sqe.flags & IOSQE_IO_HARDLINK) == 0) sqe.flags |= IOSQE_IO_LINK;
  invariant(!last || (sqe.flags & (kSkipsSuccess | IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) == 0,
            "the last of a chain must have a completion, and no link behind it");
  // KERNEL: whether those behind a failed silent link are silent as well depends on why it failed,
  // unless all before it were silent too.
  const std::uint8_t before = at == 0 ? kSkipsSuccess : handlers[at - 1]->sqe_flags_;
  const bool follows_silent = (before & kSkipsSuccess) != 0;
  const bool silent = (sqe.flags & kSkipsSuccess) != 0;
  invariant(!silent || (follows_silent && (sqe.flags & IOSQE_IO_HARDLINK) == 0),
            "only the first links of a chain can be silent, and no hard ones");
  invariant(at == 0 || !follows_silent || sqe.opcode != IORING_OP_LINK_TIMEOUT,
            "only the first links of a chain can be silent, and none with a timeout of its own");
  commit_sqe(sqe, handler);
  handler.sqe_flags_ = sqe.flags;
  handler.chain_before_ = at == 0 ? nullptr : handlers[at - 1];
  handler.chain_next_ = last ? nullptr : handlers[at + 1];
}

void AioContext::submit() {
  if (ring_) enter_ring(0);
}

void AioContext::start(Op& op) {
  if (supports(op.opcode())) {
    add_sqe([&op](io_uring_sqe& sqe) { op.prepare(sqe); }, op);
  } else {
    complete(op, static_cast<std::int32_t>(op.call()));
  }
}

void AioContext::cancel(CqeHandler& handler) {
  if (!handler.in_flight_) return;
  if (handler.linked()) {
    cancel_chain(handler);
  } else {
    queue_cancellation(reinterpret_cast<std::uint64_t>(&handler));
  }
  submit_if_outside();
}

void AioContext::queue_cancellation(std::uint64_t user_data) {
  io_uring_sqe& sqe = reserve_sqe();
  sqe.opcode = IORING_OP_ASYNC_CANCEL;
  sqe.addr = user_data;
}

// Which of them runs is known to the kernel only, so each is cancelled, in order.
// KERNEL: one between the end of the one before it and its own start is not found. Hence what is
// under way is let through first, and the attempt repeated, some times: other completions may never
// cease, and a request may not end.
void AioContext::cancel_chain(const CqeHandler& handler) {
  constexpr int kAttempts = 3;
  constexpr int kTurns = 4;
  std::vector<std::uint64_t> links;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    for (int turn = 0; turn < kTurns && ring_->needs_enter(); ++turn) enter_ring(0);
    if (!handler.in_flight_) return;
    const CqeHandler* link = &handler;
    while (link->chain_before_ != nullptr) link = link->chain_before_;
    links.clear();  // first listed, because making room for SQEs reaps
    for (; link != nullptr; link = link->chain_next_) {
      links.push_back(reinterpret_cast<std::uint64_t>(link));
    }
    for (const std::uint64_t user_data : links) queue_cancellation(user_data);
    enter_ring(0);
  }
}

void AioContext::complete(CqeHandler& handler, std::int32_t result) {
  invariant(in_home_thread(), "a CqeHandler was completed outside the context's home thread");
  invariant(handler.free(), "a CqeHandler was completed twice");
  ++counters_.inline_completions;
  ready_.push(handler, {result, 0, {}});
}

// --- back ----------------------------------------------------------------------------------------

void AioContext::enter_ring(std::int64_t timeout) {
  const int rc = ring_->enter(timeout);
  if (rc < 0) after_failed_enter(rc);
  reap();
}

void AioContext::after_failed_enter(int rc) {
  // Out of memory, or too many completions unreaped: nothing is lost, the SQEs stay queued. Let
  // others run before the next try.
  const bool out_of_resources = rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
  if (out_of_resources) ::sched_yield();
  invariant(out_of_resources || rc == -EINTR || rc == -ETIME,
            "io_uring_enter() refused the context's ring, as it does after fork()");
}

void AioContext::reap() {
  ring_->reap([this](std::uint64_t user_data, const Cqe& cqe) {
    auto* handler = reinterpret_cast<CqeHandler*>(user_data);
    if (handler != nullptr) take_cqe(*handler, cqe);  // else a cancellation's own completion
  });
}

inline void AioContext::take_cqe(CqeHandler& handler, const Cqe& cqe) {
  tsan_acquire(&handler);
  ++counters_.cqes_by_opcode[handler.opcode_];
  if ((cqe.flags & IORING_CQE_F_MORE) != 0) return ready_.push(handler, cqe);
  if (handler.linked()) return take_link(handler, cqe);
  --in_flight_;
  handler.in_flight_ = false;
  deliver(handler, cqe);
}

inline void AioContext::deliver(CqeHandler& handler, const Cqe& cqe) {
  if (handler.phase_ == CqeHandler::Phase::kReap) return handler.on_cqe(cqe);
  ready_.push(handler, cqe);
}

// Its request has ended, and it leaves its chain.
void AioContext::end_link(CqeHandler& handler) {
  --in_flight_;
  handler.in_flight_ = false;
  handler.sqe_flags_ = 0;
  CqeHandler* const before = std::exchange(handler.chain_before_, nullptr);
  CqeHandler* const next = std::exchange(handler.chain_next_, nullptr);
  if (before != nullptr) before->chain_next_ = next;
  if (next != nullptr) next->chain_before_ = before;
}

void AioContext::take_link(CqeHandler& handler, const Cqe& cqe) {
  // Silent ones before it that have had no completion have succeeded. Another one that has had none
  // is still to have it: a linked timeout that strikes speaks before the request that it ends.
  for (CqeHandler* before = handler.chain_before_; before != nullptr;) {
    CqeHandler* const earlier = before->chain_before_;
    if ((before->sqe_flags_ & kSkipsSuccess) != 0) end_link(*before);
    before = earlier;
  }
  CqeHandler* const next = handler.chain_next_;
  const bool silences = (handler.sqe_flags_ & kSkipsSuccess) != 0;
  end_link(handler);
  deliver(handler, cqe);
  // A silent one that speaks has failed, and nothing behind it starts or speaks.
  if (silences && next != nullptr) break_chain(*next);
}

void AioContext::break_chain(CqeHandler& first) {
  for (CqeHandler* link = &first; link != nullptr;) {
    CqeHandler* const next = link->chain_next_;
    end_link(*link);
    deliver(*link, {-ECANCELED, 0, {}});
    link = next;
  }
}

bool AioContext::dispatch_completions() {
  bool progress = false;
  // No more than there are now: a completion that queues the next one must not starve the rest.
  for (auto left = ready_.size(); left > 0 && !ready_.empty(); --left) {
    const CompletionFifo::Item item = ready_.pop();
    run_handler(*item.handler, item.cqe);
    progress = true;
  }
  return progress;
}

inline void AioContext::run_handler(CqeHandler& handler, const Cqe& cqe) {
  bool destroyed = false;
  bool* const outer = std::exchange(handler.destroyed_, &destroyed);
  handler.on_cqe(cqe);  // may destroy or resubmit the handler, or nest
  if (!destroyed) {
    handler.destroyed_ = outer;
  } else if (outer != nullptr) {
    *outer = true;  // it ran in a loop nested in its own call
  }
}

}  // namespace ouro::loop
