// The transport over the channel fd of libfuse (or a clone of it), a monitored AioHandler: requests
// are read() after one-shot readiness, replies are WRITE SQEs on the loop's ring.
//
// The fd is non-blocking: clones share one input queue, so another loop may have taken the request
// between poll and read. A reply goes out on the fd its request came from, as the kernel demands.
//
// Layout of a slot: [ front page ........ | header+args ][ payload pages ... ]. A request is read
// so that the data of a WRITE begins at the payload, page aligned; the 16-byte header of a reply
// goes just in front of the payload, so that the data of a READ is sent from where it was read to.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "fs/slot_memory.hpp"
#include "fs/transport.hpp"
#include "loop/aio_context.hpp"
#include "loop/log.hpp"

namespace ouro::fs {

class DevTransport final : public Transport {
 public:
  struct Options {
    // The requests that the kernel sends on its own account (kMaxBackground, handshake.cpp), and
    // the server's reserve.
    std::size_t slots = 64 + 8;
    std::size_t payload_bytes = std::size_t{1} << 20;  // >= max_write, a multiple of the page size
    unsigned read_budget = 32;                         // requests taken per readiness event
  };

  // `channel_fd` (non-blocking) is borrowed. Errors: ENOMEM for the slots.
  [[nodiscard]] static loop::Result<std::unique_ptr<DevTransport>> create(loop::AioContext& context,
                                                                          int channel_fd,
                                                                          const Options& options,
                                                                          loop::LogSink log);
  ~DevTransport() override;

  void start(RequestSink& sink) override;
  void stop() override;
  void reply(Request& request) override;
  [[nodiscard]] bool reply_here(Request& request) override;
  void drop(Request& request) override;
  [[nodiscard]] bool can_be_parked(const Request& /*request*/) const override { return true; }
  void put_back(Request& request) override;
  [[nodiscard]] Request& readmit(std::span<const std::byte> message) override;
  void pause() override;
  void resume() override;
  void send_error(std::uint64_t unique, int errno_value) override;
  [[nodiscard]] bool ask_for_interrupt(const Request& request) override;
  [[nodiscard]] int notify(std::int32_t code, std::span<const std::byte> body) const override;
  [[nodiscard]] std::size_t free_slots() const override { return free_.size(); }

 private:
  class Slot;

  DevTransport(loop::AioContext& context, int channel_fd, const Options& options, loop::LogSink log,
               SlotMemory memory);
  void watch();
  void unwatch();
  void on_readable();
  enum class Receive : std::uint8_t { kRequest, kNothing, kClosed };
  [[nodiscard]] Receive receive(Slot& slot);
  [[nodiscard]] bool await_end();
  void sent(Slot& slot, loop::KernelResult result);
  void free_slot(Slot& slot);
  void recycle(Slot& slot);
  void disconnect(Disconnect reason);

  loop::AioContext& context_;
  const int channel_fd_;
  const Options options_;
  const loop::LogSink log_;
  const SlotMemory memory_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;  // used as a stack: the slot that is warm in the cache comes first
  RequestSink* sink_ = nullptr;
  bool watching_ = false;
  bool paused_ = false;
  bool stopped_ = false;
  bool ended_ = false;  // the kernel has said so, but not yet why
};

}  // namespace ouro::fs
