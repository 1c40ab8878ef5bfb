#include "fs/dev_transport.hpp"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include "loop/invariant.hpp"

namespace ouro::fs {
namespace {

// What precedes the data of a WRITE; every request is read to this far in front of the payload.
constexpr std::size_t kHeadroomBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kHeadroomBytes % 8 == 0 && kHeadroomBytes <= SlotMemory::kFrontBytes);

}  // namespace

class DevTransport::Slot final : public Request, public loop::Op {
 public:
  Slot(DevTransport& transport, std::size_t number)
      : Request(transport.memory_.payload(number)), transport_(transport), number_(number) {}

  [[nodiscard]] std::byte* receive_area() { return payload().data() - kHeadroomBytes; }
  [[nodiscard]] std::size_t receive_bytes() { return payload().size() + kHeadroomBytes; }
  using Request::receive;

  // Writes the header in front of the payload and returns the whole reply.
  [[nodiscard]] std::span<const std::byte> outgoing() {
    const fuse_out_header out{static_cast<std::uint32_t>(sizeof out + reply_payload().size()),
                              -error(), header().unique};
    std::byte* start = payload().data() - sizeof out;
    std::memcpy(start, &out, sizeof out);
    return {start, out.len};
  }
  // By the result of that.
  [[nodiscard]] bool has_arrived(loop::KernelResult result) const {
    return result ==
           static_cast<loop::KernelResult>(sizeof(fuse_out_header) + reply_payload().size());
  }

  // The reply goes out.
  [[nodiscard]] std::uint8_t opcode() const override { return IORING_OP_WRITE; }
  void prepare(io_uring_sqe& sqe) override {
    const std::span<const std::byte> bytes = outgoing();
    ::io_uring_prep_write(&sqe, transport_.channel_fd_, bytes.data(),
                          static_cast<unsigned>(bytes.size()), 0);
  }
  [[nodiscard]] loop::KernelResult call() override {
    const std::span<const std::byte> bytes = outgoing();
    return loop::from_libc(::write(transport_.channel_fd_, bytes.data(), bytes.size()));
  }

 private:
  void on_cqe(const loop::Cqe& cqe) override { transport_.sent(*this, cqe.res); }
  void use_huge_pages() override { transport_.memory_.use_huge_pages(number_); }

  DevTransport& transport_;
  const std::size_t number_;
};

loop::Result<std::unique_ptr<DevTransport>> DevTransport::create(loop::AioContext& context,
                                                                 int channel_fd,
                                                                 const Options& options,
                                                                 loop::LogSink log) {
  OURO_TRY_ASSIGN(SlotMemory memory, SlotMemory::map(options.slots, options.payload_bytes));
  return std::unique_ptr<DevTransport>(
      new DevTransport(context, channel_fd, options, std::move(log), std::move(memory)));
}

DevTransport::DevTransport(loop::AioContext& context, int channel_fd, const Options& options,
                           loop::LogSink log, SlotMemory memory)
    : context_(context),
      channel_fd_(channel_fd),
      options_(options),
      log_(std::move(log)),
      memory_(std::move(memory)) {
  slots_.reserve(options.slots);
  free_.reserve(options.slots);
  for (std::size_t i = 0; i < options.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this, i));
    free_.push_back(slots_.back().get());
  }
}

DevTransport::~DevTransport() {
  stop();
}

void DevTransport::start(RequestSink& sink) {
  sink_ = &sink;
  watch();
}

void DevTransport::stop() {
  stopped_ = true;
  unwatch();
}

void DevTransport::watch() {
  if (stopped_ || paused_ || std::exchange(watching_, true)) return;
  context_.set_fd_handler(channel_fd_, {[this] { on_readable(); }, {}});
}

void DevTransport::unwatch() {
  if (std::exchange(watching_, false)) context_.remove_fd_handler(channel_fd_);
}

void DevTransport::pause() {
  paused_ = true;
  unwatch();
}

void DevTransport::resume() {
  if (std::exchange(paused_, false)) watch();
}

void DevTransport::on_readable() {
  for (unsigned taken = 0; taken < options_.read_budget && watching_; ++taken) {
    if (free_.empty()) {
      // The backlog stays in the kernel. free_slot() takes up reading again.
      return unwatch();
    }
    Slot& slot = *free_.back();
    free_.pop_back();
    const Receive received = receive(slot);
    if (received != Receive::kRequest) {
      free_.push_back(&slot);
      return;
    }
    sink_->on_request(slot);
  }
}

DevTransport::Receive DevTransport::receive(Slot& slot) {
  for (;;) {
    const loop::KernelResult got =
        loop::from_libc(::read(channel_fd_, slot.receive_area(), slot.receive_bytes()));
    if (got >= 0) {
      const auto bytes = static_cast<std::size_t>(got);
      if (got > 0 && slot.receive({slot.receive_area(), bytes})) return Receive::kRequest;
      if (got == 0) {
        disconnect(Disconnect::kFailed);
        return Receive::kClosed;
      }
      log_(loop::LogLevel::kError,
           "dropped a malformed message of " + std::to_string(bytes) + " bytes from the kernel");
      if (bytes >= sizeof(fuse_in_header)) send_error(slot.header().unique, EIO);
      continue;
    }
    switch (-got) {
      case EAGAIN:
        return Receive::kNothing;
      case EINTR:
      case ENOENT:  // KERNEL: the request was aborted while it was being read
        continue;
      case ENODEV:
        disconnect(Disconnect::kUnmounted);
        return Receive::kClosed;
      case ECONNABORTED:
        if (await_end()) continue;
        disconnect(Disconnect::kAborted);
        return Receive::kClosed;
      default:
        log_(loop::LogLevel::kError, "cannot read the FUSE channel: errno " + std::to_string(-got));
        disconnect(Disconnect::kFailed);
        return Receive::kClosed;
    }
  }
}

// KERNEL(6.18): a request that is being read while the connection ends is ECONNABORTED, however it
// ends (fuse_dev_do_read()). Only when that is over (POLLERR) does reading tell the reason. False:
// it has told.
bool DevTransport::await_end() {
  if (ended_) return false;
  constexpr int kLongEnoughMs = 1000;
  pollfd channel{channel_fd_, 0, 0};
  while (::poll(&channel, 1, kLongEnoughMs) < 0 && errno == EINTR) {
  }
  ended_ = true;
  return true;
}

void DevTransport::disconnect(Disconnect reason) {
  stop();
  sink_->on_disconnect(reason);
}

void DevTransport::reply(Request& request) {
  context_.start(static_cast<Slot&>(request));
}

bool DevTransport::reply_here(Request& request) {
  auto& slot = static_cast<Slot&>(request);
  return slot.has_arrived(slot.call());
}

void DevTransport::drop(Request& request) {
  recycle(static_cast<Slot&>(request));
}

void DevTransport::put_back(Request& request) {
  free_slot(static_cast<Slot&>(request));
}

Request& DevTransport::readmit(std::span<const std::byte> message) {
  loop::invariant(!free_.empty(), "a request was readmitted without a slot for it");
  Slot& slot = *free_.back();
  free_.pop_back();
  std::memcpy(slot.receive_area(), message.data(), message.size());
  loop::invariant(slot.receive({slot.receive_area(), message.size()}), "it was received before");
  return slot;
}

void DevTransport::send_error(std::uint64_t unique, int errno_value) {
  const fuse_out_header out{sizeof out, -errno_value, unique};
  while (::write(channel_fd_, &out, sizeof out) < 0 && errno == EINTR) {
  }
}

// EAGAIN makes the kernel send it again; it looks for the original among the requests of the fd
// that the answer comes from, so it goes out here.
bool DevTransport::ask_for_interrupt(const Request& request) {
  send_error(request.header().unique | wire::kInterruptBit, EAGAIN);
  return true;
}

int DevTransport::notify(std::int32_t code, std::span<const std::byte> body) const {
  fuse_out_header header{static_cast<std::uint32_t>(sizeof header + body.size()), code, 0};
  const std::array<iovec, 2> parts = {
      {{&header, sizeof header}, {const_cast<std::byte*>(body.data()), body.size()}}};
  while (::writev(channel_fd_, parts.data(), parts.size()) < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

void DevTransport::sent(Slot& slot, loop::KernelResult result) {
  while (result == -EINTR || result == -EAGAIN || result == -ECANCELED || result == -ENOMEM) {
    result = slot.call();  // the ring could not do it; the request must be answered all the same
  }
  if (!slot.has_arrived(result)) {
    sink_->on_reply_lost(slot);
    // ENOENT: the request was aborted. ENODEV, EPERM, ECONNABORTED: so was everything.
    if (result == -EINVAL) {
      log_(loop::LogLevel::kError,
           "the kernel refused a reply to opcode " + std::to_string(slot.header().opcode));
      send_error(slot.header().unique, EIO);
    }
  }
  recycle(slot);
}

void DevTransport::free_slot(Slot& slot) {
  free_.push_back(&slot);
  watch();
}

void DevTransport::recycle(Slot& slot) {
  free_slot(slot);
  sink_->on_finished(slot);  // last: it may begin a wait, in whose nested loop the slot is needed
}

}  // namespace ouro::fs
