// SQEs and completions of an AioContext: from a handler to the queue of the ring, and back.
#include <algorithm>
#include <utility>

#include "loop/aio_context.hpp"
#include "loop/invariant.hpp"

namespace ouro::loop {
namespace {

constexpr std::uint8_t kSkipsSuccess = IOSQE_CQE_SKIP_SUCCESS;

}  // namespace

// --- there ---------------------------------------------------------------------------------------

io_uring_sqe& AioContext::reserve_sqe() {
  invariant(in_home_thread(), "an SQE was added outside the context's home thread");
  invariant(has_io_uring(), "an SQE was added to a context without a ring");
  for (;;) {
    if (io_uring_sqe* sqe = ring_->next_sqe()) return *sqe;
    enter_ring(0);  // full: submit, and make room for completions (EBUSY). Calls no user.
  }
}

void AioContext::commit_sqe(io_uring_sqe& sqe, CqeHandler& handler) {
  invariant(handler.free(), "a CqeHandler was submitted twice");
  sqe.user_data = reinterpret_cast<std::uint64_t>(&handler);
  handler.opcode_ = sqe.opcode;
  handler.fate_ = fate_.get();
  handler.in_flight_ = true;
  ++in_flight_;
}

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
  commit_sqe(sqe, handler);
  handler.sqe_flags_ = sqe.flags;
  handler.chain_before_ = at == 0 ? nullptr : handlers[at - 1];
  handler.chain_next_ = last ? nullptr : handlers[at + 1];
}

void AioContext::submit_if_outside() {
  if (depth_ == 0 && submit_scopes_ == 0 && ring_) enter_ring(0);
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
  CqeHandler* running = &handler;
  while (running->chain_before_ != nullptr) running = running->chain_before_;
  io_uring_sqe& sqe = reserve_sqe();
  sqe.opcode = IORING_OP_ASYNC_CANCEL;
  sqe.addr = reinterpret_cast<std::uint64_t>(running);
  submit_if_outside();
}

void AioContext::complete(CqeHandler& handler, std::int32_t result) {
  invariant(in_home_thread(), "a CqeHandler was completed outside the context's home thread");
  invariant(handler.free(), "a CqeHandler was completed twice");
  ++counters_.inline_completions;
  ready_.push(handler, {result, 0, {}});
}

// --- back ----------------------------------------------------------------------------------------

void AioContext::reap() {
  ring_->reap([this](std::uint64_t user_data, const Cqe& cqe) {
    auto* handler = reinterpret_cast<CqeHandler*>(user_data);
    if (handler == nullptr) return;  // a cancellation's own completion
    take_cqe(*handler, cqe);
  });
}

void AioContext::take_cqe(CqeHandler& handler, const Cqe& cqe) {
  ++counters_.cqes_by_opcode[handler.opcode_];
  if ((cqe.flags & IORING_CQE_F_MORE) != 0) return ready_.push(handler, cqe);
  if (handler.sqe_flags_ != 0) return take_link(handler, cqe);
  end_flight(handler);
  deliver(handler, cqe);
}

void AioContext::deliver(CqeHandler& handler, const Cqe& cqe) {
  if (handler.phase_ == CqeHandler::Phase::kReap) return handler.on_cqe(cqe);
  ready_.push(handler, cqe);
}

void AioContext::end_flight(CqeHandler& handler) {
  --in_flight_;
  handler.in_flight_ = false;
  handler.sqe_flags_ = 0;
}

void AioContext::take_link(CqeHandler& handler, const Cqe& cqe) {
  // Those before it that have had no completion succeeded, and were to be silent about it.
  for (CqeHandler* before = handler.chain_before_; before != nullptr;) {
    CqeHandler* const earlier = std::exchange(before->chain_before_, nullptr);
    before->chain_next_ = nullptr;
    end_flight(*before);
    before = earlier;
  }
  handler.chain_before_ = nullptr;
  const std::uint8_t flags = handler.sqe_flags_;
  end_flight(handler);
  deliver(handler, cqe);
  CqeHandler* const next = std::exchange(handler.chain_next_, nullptr);
  if (next == nullptr) return;
  next->chain_before_ = nullptr;
  // A silent one that speaks has failed; without a hard link nothing behind it starts or speaks.
  const bool silences = (flags & kSkipsSuccess) != 0 && (flags & IOSQE_IO_HARDLINK) == 0;
  if (silences) break_chain(*next);
}

void AioContext::break_chain(CqeHandler& first) {
  for (CqeHandler* link = &first; link != nullptr;) {
    CqeHandler* const next = std::exchange(link->chain_next_, nullptr);
    link->chain_before_ = nullptr;
    end_flight(*link);
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

void AioContext::run_handler(CqeHandler& handler, const Cqe& cqe) {
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
