#include "fs/serving_loop.hpp"

#include <liburing.h>
#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "fs/kernel_backing.hpp"
#include "loop/uring_abi.hpp"

namespace ouro::fs {
namespace {

// All that a ring may ever be asked for; their counts tell which executor was really at work.
struct NamedOpcode {
  std::uint8_t opcode;
  const char* name;
};
constexpr NamedOpcode kUsed[] = {
    {IORING_OP_READ, "read"},           {IORING_OP_WRITE, "write"},
    {IORING_OP_FSYNC, "fsync"},         {IORING_OP_OPENAT2, "openat2"},
    {IORING_OP_STATX, "statx"},         {IORING_OP_MKDIRAT, "mkdirat"},
    {IORING_OP_UNLINKAT, "unlinkat"},   {IORING_OP_RENAMEAT, "renameat"},
    {IORING_OP_LINKAT, "linkat"},       {IORING_OP_SYMLINKAT, "symlinkat"},
    {IORING_OP_SETXATTR, "setxattr"},   {IORING_OP_GETXATTR, "getxattr"},
    {IORING_OP_FALLOCATE, "fallocate"}, {loop::abi::kOpFtruncate, "ftruncate"},
    {IORING_OP_POLL_ADD, "poll_add"},   {IORING_OP_URING_CMD, "uring_cmd"},
};

// However small writes are to be: the largest extended attribute (64 KiB) and list of names, and
// the smallest buffer that the channel accepts (8 KiB), must fit.
constexpr std::size_t kMinPayloadBytes = std::size_t{128} << 10;

// What is really at work: without io_uring everything is inline, whatever was asked for.
std::string describe(const Shared& shared, bool by_ring, bool has_ring) {
  std::string text = by_ring ? "transport=ring" : "transport=dev";
  text += " backing=";
  if (shared.connection.kernel_backing != nullptr) {
    text += "kernel";
  } else {
    text += has_ring && shared.backing == Backing::kRing ? "ring" : "inline";
  }
  if (shared.metadata == Metadata::kAuto) return text + " metadata=auto";
  const bool nested = has_ring && shared.metadata == Metadata::kNested;
  return text + (nested ? " metadata=nested" : " metadata=inline");
}

void add_kernel_opens(std::string& line, const KernelBacking* kernel) {
  static const KernelBacking::Counters kNone;
  const KernelBacking::Counters& opens = kernel != nullptr ? kernel->counters() : kNone;
  line += " kernel_opens=" + std::to_string(opens.opens.load());
  line += " kernel_mixed_opens=" + std::to_string(opens.mixed_opens.load());
  line += " kernel_other_opens=" + std::to_string(opens.other_opens.load());
}

// The kernel takes nothing else from the ring, whoever fills its queue: what a seccomp filter
// forbids must not be had by an SQE, which no filter sees.
std::vector<std::uint8_t> used_opcodes() {
  std::vector<std::uint8_t> opcodes;
  std::ranges::transform(kUsed, std::back_inserter(opcodes), &NamedOpcode::opcode);
  return opcodes;
}

bool comes_by_ring(const Shared& shared) {
  return (shared.connection.negotiated.flags & wire::kOverIoUring) != 0;
}

// The queues of one loop: every queue belongs to one.
std::vector<std::uint16_t> queues_of(unsigned number, unsigned loops) {
  std::vector<std::uint16_t> queues;
  const unsigned count = RingTransport::queue_count();
  for (unsigned queue = number; queue < count; queue += loops) {
    queues.push_back(static_cast<std::uint16_t>(queue));
  }
  return queues;
}

}  // namespace

loop::Result<std::unique_ptr<ServingLoop>> ServingLoop::create(unsigned number, int channel_fd,
                                                               const Shared& shared) {
  loop::AioOptions loop_options;
  loop_options.log = shared.log;
  loop_options.ring.allowed_opcodes = used_opcodes();
  if (comes_by_ring(shared)) RingTransport::prepare(loop_options);
  OURO_TRY_ASSIGN(auto context, loop::AioContext::create(loop_options));
  OURO_TRY_ASSIGN(Way way, create_transport(number, *context, channel_fd, shared));
  return std::unique_ptr<ServingLoop>(
      new ServingLoop(number, std::move(context), shared, std::move(way)));
}

loop::Result<ServingLoop::Way> ServingLoop::create_transport(unsigned number,
                                                             loop::AioContext& context,
                                                             int channel_fd, const Shared& shared) {
  DevTransport::Options channel;
  channel.payload_bytes =
      std::max<std::size_t>(shared.connection.negotiated.max_write_bytes, kMinPayloadBytes);
  if (!comes_by_ring(shared)) {
    OURO_TRY_ASSIGN(auto by_channel,
                    DevTransport::create(context, channel_fd, channel, shared.log));
    return Way{std::move(by_channel), nullptr};
  }
  RingTransport::Options options;
  options.queues = queues_of(number, shared.loops);
  options.depth = shared.queue_depth;
  options.payload_bytes = channel.payload_bytes;
  options.channel = channel;
  OURO_TRY_ASSIGN(auto by_ring, RingTransport::create(context, channel_fd, options, shared.log));
  const loop::Status opened = by_ring->open();
  if (!opened) {
    shared.log(loop::LogLevel::kWarning,
               "requests come by /dev/fuse, since the kernel refused FUSE-over-io_uring (errno " +
                   std::to_string(opened.error().value()) + ")");
  }
  RingTransport* const working = opened ? by_ring.get() : nullptr;
  return Way{std::move(by_ring), working};
}

ServingLoop::ServingLoop(unsigned number, std::unique_ptr<loop::AioContext> context,
                         const Shared& shared, Way way)
    : number_(number),
      loops_(shared.loops),
      transport_(std::move(way.any)),
      by_ring_(way.by_ring),
      context_(std::move(context)),
      ring_(*context_, shared.identity),
      inline_(shared.identity),
      trying_(shared.identity),
      inline_data_(*context_, shared.identity),
      tree_(shared.tree),
      kernel_backing_(shared.connection.kernel_backing),
      server_(*context_, *transport_, shared.tree, choose_executors(shared), shared.connection,
              shared.relay, shared.log),
      drain_(*context_, [this] { server_.drain(); }),
      statistics_(*context_, [this] { log_statistics(); }),
      log_(shared.log),
      modes_(describe(shared, by_ring_ != nullptr, context_->has_io_uring())) {
  if (shared.tracing == Tracing::kOn) {
    tracer_ = std::make_unique<RequestTracer>(server_, shared.log);
  }
}

Executors ServingLoop::choose_executors(const Shared& shared) {
  const auto metadata = [&]() -> passthrough::Executor& {
    switch (shared.metadata) {
      case Metadata::kNested:
        return ring_;
      case Metadata::kAuto:
        return trying_;
      default:
        return inline_;
    }
  };
  const bool on_ring = shared.backing == Backing::kRing;
  return {metadata(), on_ring ? static_cast<passthrough::AsyncExecutor&>(ring_) : inline_data_,
          shared.metadata == Metadata::kNested ? &ring_ : nullptr};
}

void ServingLoop::run() {
  if (by_ring_ != nullptr) pin();
  transport_->start(tracer_ ? static_cast<RequestSink&>(*tracer_) : server_);
  while (!server_.finished()) context_->poll(loop::Blocking::kYes);
  if (context_->has_io_uring()) context_->submit();  // the last replies
}

// With a loop for each queue, which is one for each CPU, a request needs no other CPU.
void ServingLoop::pin() const {
  if (loops_ != RingTransport::queue_count()) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(number_, &own);
  const bool may =
      ::sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_ISSET(number_, &allowed);
  if (may && ::sched_setaffinity(0, sizeof own, &own) == 0) return;
  log_(loop::LogLevel::kInfo,
       "loop " + std::to_string(number_) + " is not pinned: it may not run on its CPU");
}

void ServingLoop::log_statistics() const {
  const loop::LoopCounters& loop_counters = context_->counters();
  const ServerCounters& served = server_.counters();
  std::string line = "statistics: loop=" + std::to_string(number_) + " " + modes_;
  const auto add = [&line](const std::string& name, std::uint64_t value) {
    line += " " + name + "=" + std::to_string(value);
  };
  for (std::size_t opcode = 0; opcode < served.requests_by_opcode.size(); ++opcode) {
    if (served.requests_by_opcode[opcode] == 0) continue;
    add(std::string("request.") + find_opcode(static_cast<std::uint32_t>(opcode))->name,
        served.requests_by_opcode[opcode]);
  }
  for (const NamedOpcode& used : kUsed) {
    add(std::string("cqe.") + used.name, loop_counters.cqes_by_opcode[used.opcode]);
  }
  add("by_ring", by_ring_ != nullptr ? by_ring_->requests() : 0);
  add("inline_data", loop_counters.inline_completions);
  add("inline_calls", ring_.inline_calls() + inline_.inline_calls() + trying_.inline_calls());
  add("nested_waits", ring_.nested_waits());
  add("deferred", served.deferred);
  add("pooled", served.pooled);
  add("parked", served.parked);
  add("pruned", server_.pruned());
  add("lock_waits", served.lock_waits);
  add("interrupts", served.interrupts);
  add("interrupted", served.interrupted);
  add("replies_lost", served.replies_lost);
  add("iterations", loop_counters.iterations);
  add("enters", context_->has_io_uring() ? context_->ring().enter_calls() : 0);
  if (number_ == 0) {  // what the loops share
    add("inodes", tree_.inode_count());
    add("held_by_handle", tree_.held_by_handle());
    add("handle_opens", tree_.handle_opens());
    add_kernel_opens(line, kernel_backing_);
  }
  log_(loop::LogLevel::kInfo, line);
}

}  // namespace ouro::fs
