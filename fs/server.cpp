#include "fs/server.hpp"

#include <utility>

#include "fs/notifications.hpp"
#include "fs/operations.hpp"

namespace ouro::fs {
namespace {

// What is done with an open file or directory, rather than with a name or a node.
bool uses_handle(std::uint32_t opcode) {
  switch (opcode) {
    case FUSE_FLUSH:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_FSYNCDIR:
    case FUSE_FALLOCATE:
    case FUSE_LSEEK:
    case FUSE_IOCTL:
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
      return true;
    default:
      return false;
  }
}

bool adds_inode(std::uint32_t opcode) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_CREATE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_TMPFILE:
      return true;
    default:
      return false;
  }
}

bool is_metadata(const OpcodeRow& row) {
  return row.route == Route::kLooks || row.route == Route::kWaits || row.route == Route::kCalls;
}

bool opens_file(std::uint32_t opcode) {
  return opcode == FUSE_OPEN || opcode == FUSE_CREATE || opcode == FUSE_TMPFILE;
}

// KERNEL(6.18): a direct write drops the client's pages before it (fuse_direct_io()), and if it is
// synchronous once more after it. One of io_submit() or io_uring ends in fuse_aio_complete(), which
// drops none, so that what was read anew meanwhile would stay.
bool leaves_stale_pages(const Request& request) {
  return request.goes_past() && request.goes_past()->may_have_pages();
}

// Where the loop is not to be held up, closing is none of its business either.
bool closes_elsewhere(const Executors& executors) {
  return executors.nested != nullptr || executors.metadata.refuses_blocking();
}

// For a count that one thread writes and others look at: cheaper than an atomic addition.
void change(std::atomic<std::size_t>& count, int by) {
  count.store(count.load(std::memory_order_relaxed) + static_cast<std::size_t>(by),
              std::memory_order_relaxed);
}

}  // namespace

Server::Server(loop::AioContext& context, Transport& transport, passthrough::Tree& tree,
               const Executors& executors, const Connection& connection, InterruptRelay& relay,
               loop::LogSink log)
    : context_(context),
      transport_(transport),
      executors_(executors),
      lock_replies_(tree.locks(), transport),
      operation_{
          tree,       executors.metadata,
          connection, closes_elsewhere(executors) ? static_cast<Closer&>(pool_closer_) : closer_,
          transport,  lock_replies_},
      relay_(relay),
      log_(std::move(log)),
      patience_(context, [this] { pool_deferred(); }),
      pool_closer_(pool_),
      pool_(context, kMaxWorkers),
      near_pool_(context, kMaxWorkers, loop::Placement::kBesideHome),
      pruner_(context, tree, transport, log_),
      page_dropper_(context, transport),
      page_watch_(context, tree, connection, executors.metadata.identity(), transport),
      posted_bh_(context, [this] { take_posted_interrupts(); }) {}

void Server::drain() {
  draining_ = true;
  transport_.stop();
  lock_replies_.abandon();
  pool_.hurry();
  near_pool_.hurry();
}

void Server::on_disconnect(Disconnect reason) {
  disconnected_ = reason;
  if (reason == Disconnect::kAborted) {
    log_(loop::LogLevel::kWarning, "the connection was aborted");
  }
  drain();
}

// --- admission -----------------------------------------------------------------------------------

void Server::on_request(Request& request) {
  const fuse_in_header& header = request.header();
  add_active(request);
  if (request.row_ == nullptr) return reply_error(request, ENOSYS);
  ++counters_.requests_by_opcode[header.opcode];
  if (request.arguments().size() < request.row_->min_argument_bytes) {
    // What has no reply must not get one.
    return request.row_->route == Route::kControl ? transport_.drop(request)
                                                  : reply_error(request, EINVAL);
  }
  if (is_turned_away(request)) return reply_error(request, EACCES);
  const std::uint64_t unique = request.header().unique;
  const bool interrupted = take_early_interrupt(unique) && !transport_.ask_for_interrupt(request);
  admit(request);  // after which it may have ended
  if (interrupted) (void)interrupt_own(unique);
}

void Server::add_active(Request& request) {
  request.server_ = this;
  request.row_ = find_opcode(request.header().opcode);
  request.next_active_ = active_;
  request.previous_active_ = nullptr;
  if (active_ != nullptr) active_->previous_active_ = &request;
  active_ = &request;
  change(active_count_, +1);
}

void Server::remove_active(Request& request) {
  Request* next = request.next_active_;
  Request* previous = request.previous_active_;
  (previous != nullptr ? previous->next_active_ : active_) = next;
  if (next != nullptr) next->previous_active_ = previous;
  request.stage_ = Request::Stage::kIdle;
  change(active_count_, -1);
}

bool Server::is_turned_away(const Request& request) const {
  const auto& only_user = operation_.connection.only_user;
  if (!only_user) return false;
  const uid_t uid = request.header().uid;
  // What was opened may be used, and is closed, by whoever holds it.
  return uid != 0 && uid != *only_user && is_metadata(*request.row_) &&
         !uses_handle(request.header().opcode);
}

void Server::on_finished(Request& request) {
  remove_active(request);
  unpark();
}

void Server::admit(Request& request) {
  switch (request.row_->route) {
    case Route::kControl:
      return control(request);
    case Route::kAtOnce:
      return run_handler(request);
    case Route::kLooks:
    case Route::kWaits:
    case Route::kCalls:
    case Route::kPool:
    case Route::kData:
      break;
  }
  if (!transport_.can_be_parked(request)) return start(request);
  // The last slots are for requests that others depend on.
  if (transport_.free_slots() >= kReservedSlots && parked_.empty()) return start(request);
  park(request);
}

void Server::park(Request& request) {
  ++counters_.parked;
  parked_.push(request.message());
  remove_active(request);
  transport_.put_back(request);
  if (parked_.full()) transport_.pause();
}

void Server::unpark() {
  while (!parked_.empty() && transport_.free_slots() > kReservedSlots) {
    Request& request = transport_.readmit(parked_.pop());
    read_on();
    add_active(request);
    start(request);
  }
}

void Server::read_on() {
  if (!parked_.full()) transport_.resume();
}

void Server::control(Request& request) {
  switch (request.header().opcode) {
    case FUSE_FORGET:
      operations::forget(operation_, request);
      break;
    case FUSE_BATCH_FORGET:
      operations::batch_forget(operation_, request);
      break;
    case FUSE_INTERRUPT: {
      fuse_interrupt_in in;
      std::memcpy(&in, request.arguments().data(), sizeof in);
      interrupt(in.unique);
      break;
    }
    default:  // DESTROY: the kernel waits for the reply before it takes the mount down
      return reply(request, Reply(0));
  }
  transport_.drop(request);
}

// --- running -------------------------------------------------------------------------------------

void Server::start(Request& request) {
  // Until descriptors are free again.
  if (operation_.tree.is_full() && adds_inode(request.header().opcode)) {
    return submit_to_pool(request);
  }
  switch (way_of(request.row_->route)) {
    case Way::kTransfer:
      return begin_data(request);
    case Way::kInPool:
      return submit_to_pool(request);
    case Way::kHere:
      return waiting_ != nullptr ? defer(request) : run_waiting(request);
  }
}

Server::Way Server::way_of(Route route) const {
  const bool refuses = executors_.metadata.refuses_blocking();
  switch (route) {
    case Route::kData:
      return Way::kTransfer;
    case Route::kLooks:
      return Way::kHere;
    case Route::kWaits:
      return refuses ? Way::kInPool : Way::kHere;
    case Route::kCalls:
      return refuses || executors_.nested != nullptr ? Way::kInPool : Way::kHere;
    default:
      return Way::kInPool;
  }
}

void Server::begin_data(Request& request) {
  request.stage_ = Request::Stage::kTransfer;
  const loop::Status begun = request.row_->begin(operation_, executors_.data, request);
  if (!begun) reply_error(request, begun.error().value());
}

void Server::finish_transfer(Request& request, loop::KernelResult result) {
  if (result < 0) return reply_error(request, static_cast<int>(-result));
  switch (request.header().opcode) {
    case FUSE_READ:
      return reply(request, static_cast<std::size_t>(result));
    case FUSE_WRITE:
      // KERNEL(6.18): the client asks anew for size and times, but not for the mode.
      if (request.changes_mode()) drop_attributes(transport_, request.header().nodeid);
      request.reply_struct<fuse_write_out>().size = static_cast<std::uint32_t>(result);
      if (leaves_stale_pages(request)) {
        if (!request.may_lock_pages()) return submit_to_pool(request);
        page_dropper_.drop_soon(request.header().nodeid);
      }
      return reply(request, sizeof(fuse_write_out));
    default:
      return reply(request, Reply(0));
  }
}

void Server::run_waiting(Request& request) {
  Request* next = &request;
  // What was deferred during a wait runs here, one after another on this same stack frame.
  while (next != nullptr) {
    waiting_ = next;
    wait_started_ns_ = 0;
    next->stage_ = Request::Stage::kWaiting;
    if (executors_.nested != nullptr) wait_started_ns_ = loop::monotonic_now_ns();
    run_handler(*next);
    waiting_ = nullptr;
    next = deferred_.pop();
  }
  patience_.cancel();
}

void Server::run_handler(Request& request) {
  const Reply result = request.row_->handle(operation_, request);
  if (executors_.metadata.take_refusal()) request.ask_for_worker();
  request.wants_worker_ ? submit_to_pool(request) : reply(request, result);
}

void Server::defer(Request& request) {
  ++counters_.deferred;
  const std::int64_t patience_ends_ns = wait_started_ns_ + kPatienceNs;
  if (loop::monotonic_now_ns() >= patience_ends_ns) return submit_to_pool(request);
  request.stage_ = Request::Stage::kDeferred;
  deferred_.push(request);
  if (!patience_.armed()) patience_.arm_at(patience_ends_ns);
}

void Server::pool_deferred() {
  if (waiting_ == nullptr) return;
  const std::int64_t patience_ends_ns = wait_started_ns_ + kPatienceNs;
  if (loop::monotonic_now_ns() < patience_ends_ns) {  // armed for an earlier wait
    if (!deferred_.empty()) patience_.arm_at(patience_ends_ns);
    return;
  }
  while (Request* request = deferred_.pop()) submit_to_pool(*request);
}

void Server::submit_to_pool(Request& request) {
  ++counters_.pooled;
  request.stage_ = Request::Stage::kPooled;
  request.wants_worker_ = false;
  ++in_pool_;
  // Nobody waits for the end of what a worker has answered, unless its slot is needed.
  const bool begins_watch = opens_file(request.header().opcode) && !page_watch_.is_on();
  request.may_end_late_ = in_pool_ <= kUnreported && parked_.empty() && !begins_watch;
  pool_of(request).submit(request);
}

// What would have run here, if it could not block, is short.
loop::WorkerPool& Server::pool_of(const Request& request) {
  const bool is_short = executors_.metadata.refuses_blocking() && is_metadata(*request.row_);
  return is_short ? near_pool_ : pool_;
}

void Server::run_in_pool(Request& request) {
  if (adds_inode(request.header().opcode)) operation_.tree.wait_for_room();
  passthrough::InlineExecutor executor(executors_.metadata.identity());
  InlineCloser closer;
  OperationContext operation{operation_.tree, executor, operation_.connection, closer, transport_,
                             lock_replies_,   true};
  const Reply result = request.row_->handle(operation, request);
  result ? request.succeed(*result) : request.fail(result.error().value());
  if (request.left_open_ || !transport_.reply_here(request)) return;
  request.replied_ = true;
  replied_count_.fetch_add(1, std::memory_order_relaxed);
  if (request.may_end_late_) request.be_done_in_passing();
}

void Server::finish_pooled(Request& request) {
  --in_pool_;
  send(request);
}

// --- replies -------------------------------------------------------------------------------------

void Server::reply(Request& request, const Reply& result) {
  result ? request.succeed(*result) : request.fail(result.error().value());
  send(request);
}

void Server::reply_error(Request& request, int errno_value) {
  request.fail(errno_value);
  send(request);
}

void Server::send(Request& request) {
  request.stage_ = Request::Stage::kIdle;
  if (request.left_open_) return leave_to_wait(request);
  if (request.error() == 0 && opens_file(request.header().opcode)) page_watch_.begin();
  if (request.replied_) {
    replied_count_.fetch_sub(1, std::memory_order_relaxed);
    transport_.drop(request);
  } else {
    transport_.reply(request);
  }
  pruner_.prune_if_crowded();
}

void Server::leave_to_wait(Request& request) {
  ++counters_.lock_waits;
  // One that came while a worker was about to begin the wait.
  if (request.interrupted_) (void)lock_replies_.interrupt(request.header().unique);
  transport_.drop(request);
}

void Server::on_reply_lost(Request& request) {
  ++counters_.replies_lost;
  if (request.error() == 0 && request.row_ != nullptr && request.row_->undo != nullptr) {
    request.row_->undo(operation_, request);
  }
}

}  // namespace ouro::fs
