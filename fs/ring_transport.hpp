// The transport by FUSE-over-io_uring (Linux 6.14): a request is the completion of a command on the
// loop's own ring, its reply is the next command of the same entry, and so it arrives with no
// read() and leaves with no write(), beside the SQEs of the file I/O that answers it.
//
// The kernel has a queue for each possible CPU and puts a request into that of the CPU where it is
// made; every queue belongs to one loop. An entry of a queue is a request's slot. While all of a
// queue's entries are busy its further requests wait in the kernel, which does not try another
// queue. So a source that hangs stalls a CPU's callers when it has taken `depth` requests of
// theirs; waits for locks do not count, since an entry more is registered for each.
//
// FORGET, INTERRUPT and notifications still go by the channel, where a DevTransport takes them, and
// everything does if the kernel refuses the entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fs/dev_transport.hpp"
#include "fs/slot_memory.hpp"
#include "fs/transport.hpp"
#include "loop/aio_context.hpp"
#include "loop/log.hpp"

namespace ouro::fs {

class RingTransport final : public Transport {
 public:
  struct Options {
    std::vector<std::uint16_t> queues;  // that this loop serves, by number; may be empty
    std::size_t depth = 64;             // entries of each
    std::size_t payload_bytes = std::size_t{1} << 20;  // as DevTransport's, and what was negotiated
    DevTransport::Options channel;
  };

  // What a context needs for it: rings of 128-byte SQEs, which end with their thread.
  static void prepare(loop::AioOptions& options);
  // Whether this process can have such rings, and the kernel commands on them.
  [[nodiscard]] static bool is_possible(const loop::LogSink& log);
  // How many queues the kernel has for a connection: one for each possible CPU.
  [[nodiscard]] static unsigned queue_count();

  // `channel_fd` (non-blocking) is borrowed. Errors: ENOMEM.
  [[nodiscard]] static loop::Result<std::unique_ptr<RingTransport>> create(
      loop::AioContext& context, int channel_fd, const Options& options, loop::LogSink log);
  // The context must have ended, or all that it was given: it drops what the kernel still holds.
  ~RingTransport() override;

  // Offers the entries to the kernel. Requests that come before start() are kept for it. Fails with
  // the kernel's errno if a queue is left without entries: then requests come by the channel.
  // FUSE_INIT must have been answered: from then on until every queue has an entry, the kernel
  // sends nothing.
  [[nodiscard]] loop::Status open();

  void start(RequestSink& sink) override;
  void stop() override;
  void reply(Request& request) override;
  // Only its own thread may use a ring.
  [[nodiscard]] bool reply_here(Request& request) override {
    return !owns(request) && channel_->reply_here(request);
  }
  void drop(Request& request) override;
  [[nodiscard]] bool can_be_parked(const Request& request) const override;
  void put_back(Request& request) override { channel_->put_back(request); }
  [[nodiscard]] Request& readmit(std::span<const std::byte> message) override {
    return channel_->readmit(message);
  }
  void pause() override { channel_->pause(); }
  void resume() override { channel_->resume(); }
  void send_error(std::uint64_t unique, int errno_value) override {
    channel_->send_error(unique, errno_value);
  }
  [[nodiscard]] bool ask_for_interrupt(const Request& request) override;
  [[nodiscard]] int notify(std::int32_t code, std::span<const std::byte> body) const override {
    return channel_->notify(code, body);
  }
  [[nodiscard]] std::size_t free_slots() const override { return channel_->free_slots(); }

  // Requests that have come by the ring.
  [[nodiscard]] std::uint64_t requests() const { return requests_; }

 private:
  class Entry;
  struct Queue {
    std::uint16_t number = 0;
    std::size_t entries = 0;  // that the kernel has not refused
  };
  RingTransport(loop::AioContext& context, int channel_fd, const Options& options,
                SlotMemory memory, std::unique_ptr<DevTransport> channel, loop::LogSink log);
  [[nodiscard]] bool owns(const Request& request) const;
  void arrived(Entry& entry);
  void deliver(Entry& entry);
  void command_failed(Entry& entry, int errno_value);

  loop::AioContext& context_;
  const int channel_fd_;
  const loop::LogSink log_;
  const std::unique_ptr<DevTransport> channel_;
  const SlotMemory memory_;    // of the entries, one after another
  std::vector<Queue> queues_;  // as many as at first: entries point into it
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> early_;  // whose requests came before start()
  RequestSink* sink_ = nullptr;
  bool stopped_ = false;
  int refusal_ = 0;  // the errno of a REGISTER
  std::uint64_t requests_ = 0;
};

}  // namespace ouro::fs
