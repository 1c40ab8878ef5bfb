#include "fs/ring_transport.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string>

#include "fs/ring_message.hpp"
#include "loop/invariant.hpp"

namespace ouro::fs {
namespace {

// The connection has ended: the channel tells how.
bool means_ended(int errno_value) {
  return errno_value == ENOTCONN || errno_value == ECONNABORTED || errno_value == ECANCELED;
}

// How many CPUs a list like "0-3,8-11" names.
unsigned count_in_list(std::string_view list) {
  unsigned count = 0;
  while (!list.empty()) {
    const std::string_view range = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), range.size() + 1));
    unsigned first = 0;
    const char* const end = range.data() + range.size();
    const auto parsed = std::from_chars(range.data(), end, first);
    unsigned last = first;
    if (parsed.ptr != end && *parsed.ptr == '-') std::from_chars(parsed.ptr + 1, end, last);
    if (parsed.ec == std::errc() && last >= first) count += last - first + 1;
  }
  return count;
}

}  // namespace

// A slot of the ring: its request, and the command that is with the kernel while it has none.
class RingTransport::Entry final : public Request, public loop::CqeHandler {
 public:
  Entry(RingTransport& transport, Queue& of_queue, std::size_t number)
      : Request(transport.memory_.payload(number)),
        queue(of_queue),
        transport_(transport),
        number_(number),
        message_(transport.memory_.front(number), payload()),
        buffers_{{{transport.memory_.front(number), sizeof(wire::RingHeader)},
                  {payload().data(), payload().size()}}} {}

  void offer() { command(wire::RingCommandOp::kRegister, buffers_); }

  // Hands the reply over and asks for the next request.
  void commit() {
    message_.put_reply(header().unique, error(), reply_payload().size());
    commit_again();
  }
  // An answer to what could not be taken in as a request.
  void refuse() {
    message_.put_reply(message_.unique(), EIO, 0);
    commit_again();
  }
  // Once more what put_reply() has left.
  void commit_again() { command(wire::RingCommandOp::kCommitAndFetch, {}); }

  // False if what was delivered is no request.
  [[nodiscard]] bool take_in() {
    const auto request = message_.request();
    return request && receive(*request);
  }

  Queue& queue;
  bool registered = false;  // a request has come, so that the next command is a commit

 private:
  void command(wire::RingCommandOp operation, std::span<const iovec> buffers) {
    transport_.context_.add_sqe(
        [&](io_uring_sqe& sqe) {
          sqe.opcode = IORING_OP_URING_CMD;
          sqe.fd = transport_.channel_fd_;
          sqe.cmd_op = static_cast<__u32>(operation);
          sqe.addr = reinterpret_cast<std::uintptr_t>(buffers.data());
          sqe.len = static_cast<__u32>(buffers.size());
          const wire::RingCommand arguments{0, message_.commit_id(), queue.number, {}};
          std::memcpy(sqe.cmd, &arguments, sizeof arguments);
        },
        *this);
  }
  void on_cqe(const loop::Cqe& cqe) override {
    cqe.res == 0 ? transport_.arrived(*this) : transport_.command_failed(*this, -cqe.res);
  }
  void use_huge_pages() override { transport_.memory_.use_huge_pages(number_); }

  RingTransport& transport_;
  const std::size_t number_;
  RingMessage message_;
  const std::array<iovec, 2> buffers_;  // read by the kernel when it is offered
};

void RingTransport::prepare(loop::AioOptions& options) {
  options.ring.sqe128 = true;
  options.ring.ends_with_thread = true;
  // Entries are with the kernel for as long as the connection lasts; nothing else is when a loop
  // has answered all that it had.
  options.on_destroy = loop::OnDestroy::kDrop;
}

bool RingTransport::is_possible(const loop::LogSink& log) {
  loop::AioOptions options;
  options.log = log;  // it may be the first context of the process
  prepare(options);
  const auto context = loop::AioContext::create(options);
  return context && (*context)->supports(IORING_OP_URING_CMD);
}

unsigned RingTransport::queue_count() {
  std::string list;
  std::getline(std::ifstream("/sys/devices/system/cpu/possible"), list);
  return std::max(count_in_list(list), 1U);
}

loop::Result<std::unique_ptr<RingTransport>> RingTransport::create(loop::AioContext& context,
                                                                   int channel_fd,
                                                                   const Options& options,
                                                                   loop::LogSink log) {
  OURO_TRY_ASSIGN(auto channel, DevTransport::create(context, channel_fd, options.channel, log));
  OURO_TRY_ASSIGN(SlotMemory memory,
                  SlotMemory::map(options.queues.size() * options.depth, options.payload_bytes));
  return std::unique_ptr<RingTransport>(new RingTransport(
      context, channel_fd, options, std::move(memory), std::move(channel), std::move(log)));
}

RingTransport::RingTransport(loop::AioContext& context, int channel_fd, const Options& options,
                             SlotMemory memory, std::unique_ptr<DevTransport> channel,
                             loop::LogSink log)
    : context_(context),
      channel_fd_(channel_fd),
      log_(std::move(log)),
      channel_(std::move(channel)),
      memory_(std::move(memory)) {
  for (const std::uint16_t number : options.queues) queues_.push_back({number, options.depth});
  for (Queue& queue : queues_) {
    for (std::size_t i = 0; i < options.depth; ++i) {
      entries_.push_back(std::make_unique<Entry>(*this, queue, entries_.size()));
    }
  }
}

RingTransport::~RingTransport() = default;

loop::Status RingTransport::open() {
  for (const auto& entry : entries_) entry->offer();
  // A REGISTER that is refused completes at once; the others when a request comes.
  while (context_.poll(loop::Blocking::kNo)) {
  }
  for (const Queue& queue : queues_) {
    if (queue.entries == 0) return loop::fail(refusal_);
  }
  return {};
}

bool RingTransport::owns(const Request& request) const {
  return memory_.contains(request.reply_payload().data());
}

bool RingTransport::can_be_parked(const Request& request) const {
  return !owns(request);
}

void RingTransport::start(RequestSink& sink) {
  sink_ = &sink;
  channel_->start(sink);
  for (Entry* const entry : std::exchange(early_, {})) deliver(*entry);
}

void RingTransport::stop() {
  stopped_ = true;
  channel_->stop();
}

// --- requests ------------------------------------------------------------------------------------

void RingTransport::arrived(Entry& entry) {
  entry.registered = true;
  sink_ == nullptr ? early_.push_back(&entry) : deliver(entry);
}

void RingTransport::deliver(Entry& entry) {
  // As with what stays in the channel: whoever ends the connection answers it.
  if (stopped_) return;
  ++requests_;
  if (entry.take_in()) return sink_->on_request(entry);
  log_(loop::LogLevel::kError, "refused a malformed request of the kernel");
  entry.refuse();
}

void RingTransport::command_failed(Entry& entry, int errno_value) {
  if (entry.registered &&
      (errno_value == EAGAIN || errno_value == ENOMEM || errno_value == EINTR)) {
    return entry.commit_again();  // the ring could not do it; the request must be answered
  }
  const bool refused = !entry.registered && !means_ended(errno_value);
  if (refused) refusal_ = errno_value;
  if (!refused && !means_ended(errno_value)) {
    log_(loop::LogLevel::kError,
         "the kernel refused a command of the ring: errno " + std::to_string(errno_value));
  }
  --entry.queue.entries;
}

// --- replies -------------------------------------------------------------------------------------

void RingTransport::reply(Request& request) {
  if (!owns(request)) return channel_->reply(request);
  auto& entry = static_cast<Entry&>(request);
  entry.commit();
  sink_->on_finished(entry);
}

void RingTransport::drop(Request& request) {
  if (!owns(request)) return channel_->drop(request);
  request.succeed(0);  // every request of the ring has a reply
  reply(request);
}

bool RingTransport::ask_for_interrupt(const Request& request) {
  // KERNEL(6.18): an answer to an INTERRUPT is looked up among the channel's requests only.
  return !owns(request) && channel_->ask_for_interrupt(request);
}

}  // namespace ouro::fs
