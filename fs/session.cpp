#include "fs/session.hpp"

#include <poll.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "fs/handshake.hpp"

namespace ouro::fs {
namespace {

// Why requests cannot come by the ring, whatever the kernel offers; empty if they can.
std::string obstacle_to_ring(const SessionOptions& options, const loop::LogSink& log) {
  if (options.transport == TransportChoice::kDev) return "that was asked for";
  // See ring_transport.hpp.
  if ((options.init_flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)) != 0) {
    return "waits for locks of the source would hold up others";
  }
  return RingTransport::is_possible(log) ? "" : "io_uring cannot be used for them here";
}

}  // namespace

loop::Result<std::unique_ptr<Session>> Session::create(std::vector<int> channels,
                                                       passthrough::Tree& tree,
                                                       const passthrough::ProcessIdentity& identity,
                                                       const SessionOptions& options,
                                                       loop::LogSink log) {
  std::unique_ptr<Session> session(
      new Session(std::move(channels), tree, identity, options, std::move(log)));
  HandshakeOptions wanted;
  wanted.max_write_bytes = options.max_write_bytes;
  wanted.max_readahead_bytes = options.max_readahead_bytes;
  wanted.extra_flags = options.cache.init_flags | options.init_flags;
  wanted.extra_flags |= tree.has_durable_ids() ? FUSE_EXPORT_SUPPORT : wire::kNoExportSupport;
  std::string refusal = reason_not_to_ask(wanted.extra_flags, identity);
  if (options.kernel_backing.use != KernelBackingOptions::Use::kOff && refusal.empty()) {
    wanted.extra_flags |= wire::kPassthrough;
    wanted.max_stack_depth = stack_depth(options.kernel_backing, tree.root_fd());
  }
  const std::string obstacle = obstacle_to_ring(options, session->shared_.log);
  // Agreed upon, it must be done: the kernel sends nothing until every queue has entries.
  if (obstacle.empty()) wanted.extra_flags |= wire::kOverIoUring;
  OURO_TRY_ASSIGN(session->connection_.negotiated, handshake(session->channels_.front(), wanted));
  session->report_refusal(options.transport, obstacle);
  session->begin_kernel_backing(options.kernel_backing, std::move(refusal));
  OURO_TRY(session->start_loops());
  return session;
}

Session::Session(std::vector<int> channels, passthrough::Tree& tree,
                 const passthrough::ProcessIdentity& identity, const SessionOptions& options,
                 loop::LogSink log)
    : channels_(std::move(channels)),
      connection_{options.cache, {}, options.only_user},
      shared_{tree,
              identity,
              connection_,
              *this,
              static_cast<unsigned>(channels_.size()),
              options.queue_depth,
              options.backing,
              options.metadata,
              options.tracing,
              std::move(log)},
      loops_(channels_.size()) {}

void Session::begin_kernel_backing(const KernelBackingOptions& options, std::string refusal) {
  using Use = KernelBackingOptions::Use;
  if (options.use == Use::kOff) return;
  const auto files = std::make_shared<ChannelFiles>(channels_.front(), shared_.identity);
  if (refusal.empty()) {
    const bool agreed = (connection_.negotiated.flags & wire::kPassthrough) != 0;
    if (!agreed) {
      refusal = "this kernel has no FUSE passthrough (Linux 6.9)";
    } else if (const auto tried = files->try_out(shared_.tree.root_fd()); !tried) {
      refusal = reason_of_refusal(tried.error().value());
    }
  }
  if (refusal.empty()) {
    connection_.kernel_backing = &kernel_backing_.emplace(files, shared_.log);
    return;
  }
  shared_.log(options.use == Use::kWanted ? loop::LogLevel::kWarning : loop::LogLevel::kInfo,
              "backing=kernel is refused: " + refusal + "; data goes by requests");
}

Session::~Session() {
  enter(Phase::kStopping);
  for (std::thread& thread : threads_) thread.join();
}

void Session::report_refusal(TransportChoice wanted, const std::string& obstacle) const {
  const bool granted = (connection_.negotiated.flags & wire::kOverIoUring) != 0;
  if (wanted == TransportChoice::kDev || granted) return;
  const auto level =
      wanted == TransportChoice::kRing ? loop::LogLevel::kWarning : loop::LogLevel::kInfo;
  const std::string reason = obstacle.empty()
                                 ? "the kernel does not offer FUSE-over-io_uring (Linux 6.14; "
                                   "/sys/module/fuse/parameters/enable_uring)"
                                 : obstacle;
  shared_.log(level, "requests come by /dev/fuse, since " + reason);
}

const std::string& Session::modes() const {
  for (const auto& loop : loops_) {
    if (!loop->takes_requests_by_ring()) return loop->modes();
  }
  return loops_[0]->modes();
}

loop::Status Session::start_loops() {
  try {
    for (unsigned number = 1; number < channels_.size(); ++number) {
      threads_.emplace_back([this, number] { loop_thread(number); });
    }
  } catch (const std::system_error& error) {
    return loop::fail(error.code().value());
  }
  OURO_TRY_ASSIGN(loops_[0], ServingLoop::create(0, channels_[0], shared_));
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return reported_ == threads_.size(); });
  if (start_error_ != 0) return loop::fail(start_error_);
  serving_ = channels_.size();
  return {};
}

void Session::loop_thread(unsigned number) {
  auto created = ServingLoop::create(number, channels_[number], shared_);
  {
    std::unique_lock lock(mutex_);
    ++reported_;
    if (created) loops_[number] = std::move(*created);
    if (!created) start_error_ = created.error().value();
    changed_.notify_all();
    changed_.wait(lock, [this] { return phase_ != Phase::kStarting; });
    if (phase_ == Phase::kStopping) {
      loops_[number].reset();  // a context ends in its own thread
      return;
    }
  }
  serve(number);
}

loop::AioContext& Session::home() {
  return loops_[0]->context();
}

std::optional<Disconnect> Session::run() {
  enter(Phase::kServing);
  serve(0);
  return loops_[0]->server().disconnected();
}

void Session::serve(unsigned number) {
  loops_[number]->run();
  std::unique_lock lock(mutex_);
  --serving_;
  changed_.notify_all();
  home().notify();
  // No loop goes away while another may still relay an interrupt to it. The first one goes on
  // with what else the program has put on it, signals above all.
  while (serving_ != 0) {
    if (number != 0) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    home().poll(loop::Blocking::kYes);
    lock.lock();
  }
  lock.unlock();
  loops_[number]->log_statistics();
  if (number == 0) return;
  // drain() and post_statistics() may still come from the first loop.
  lock.lock();
  const std::unique_ptr<ServingLoop> ended = std::move(loops_[number]);
  lock.unlock();
}

void Session::enter(Phase phase) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  changed_.notify_all();
}

void Session::drain() {
  const std::lock_guard lock(mutex_);
  for (const auto& loop : loops_) {
    if (loop) loop->drain();
  }
}

bool Session::is_idle() {
  pollfd channel{channels_.front(), POLLIN, 0};
  // KERNEL: clones share one queue of requests.
  if (::poll(&channel, 1, 0) > 0 && (channel.revents & POLLIN) != 0) return false;
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(loops_,
                             [](const auto& loop) { return !loop || loop->server().idle(); });
}

void Session::post_statistics() {
  const std::lock_guard lock(mutex_);
  for (const auto& loop : loops_) {
    if (loop) loop->post_statistics();
  }
}

void Session::relay_interrupt(const Server& from, std::uint64_t unique) {
  for (const auto& loop : loops_) {
    if (&loop->server() != &from) loop->server().post_interrupt(unique);
  }
}

}  // namespace ouro::fs
