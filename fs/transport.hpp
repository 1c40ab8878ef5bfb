// How requests enter and replies leave. DevTransport does it by the channel fd, RingTransport by
// commands on the loop's ring.
// Everything in the home thread of the transport's context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/request.hpp"

namespace ouro::fs {

enum class Disconnect : std::uint8_t {
  kUnmounted,  // ENODEV: the file system is gone
  kAborted,    // ECONNABORTED: somebody aborted the connection
  kFailed,     // the channel cannot be read any more
};

// Who serves the requests of a transport.
class RequestSink {
 public:
  // A request has come. It ends with transport.reply() or transport.drop(), now or later.
  virtual void on_request(Request& request) = 0;
  // The reply did not reach the kernel (the request was aborted): what it granted is to be undone.
  virtual void on_reply_lost(Request& request) = 0;
  // `request` has ended. Its slot is free: a loop nested here may already use it anew.
  virtual void on_finished(Request& request) = 0;
  // There will be no more requests.
  virtual void on_disconnect(Disconnect reason) = 0;

 protected:
  ~RequestSink() = default;
};

// Tells the kernel what it has not asked for.
class Notifier {
 public:
  // `code`: FUSE_NOTIFY_*. Any thread, but none that serves requests, unless what the kernel does
  // with this waits for no request. 0 or an errno.
  [[nodiscard]] virtual int notify(std::int32_t code, std::span<const std::byte> body) const = 0;

 protected:
  ~Notifier() = default;
};

class Transport : public Notifier {
 public:
  virtual ~Transport() = default;
  virtual void start(RequestSink& sink) = 0;
  // Takes no more requests; those that are there can still be answered.
  virtual void stop() = 0;
  // Sends what request.succeed() or fail() has set.
  virtual void reply(Request& request) = 0;
  // The same in any thread, at once. True: it has arrived, and the request is to be ended by
  // drop(). False: it has not, or cannot be sent like that, and is still to be sent by reply().
  [[nodiscard]] virtual bool reply_here(Request& request) = 0;
  // Ends a request that has no reply, or has it already.
  virtual void drop(Request& request) = 0;
  // Whether the request can go on without its slot: put_back() is for such requests only.
  [[nodiscard]] virtual bool can_be_parked(const Request& request) const = 0;
  // Frees the slot of a request that has not begun and goes on without one; no on_finished().
  virtual void put_back(Request& request) = 0;
  // Takes in such a request anew, from a copy of its message(). There must be a free slot.
  [[nodiscard]] virtual Request& readmit(std::span<const std::byte> message) = 0;
  // Reads no more requests until resume(). Both may be called again and again.
  virtual void pause() = 0;
  virtual void resume() = 0;
  // Answers a request that was dropped or holds no slot, with an error or with a success (0) that
  // has no payload. Any thread.
  virtual void send_error(std::uint64_t unique, int errno_value) = 0;
  // Asks the kernel to send the INTERRUPT of this request once more, because it came before the
  // request. False: it does not do that here.
  [[nodiscard]] virtual bool ask_for_interrupt(const Request& request) = 0;
  // Slots that are not in use, of those for requests that can be parked.
  [[nodiscard]] virtual std::size_t free_slots() const = 0;
};

}  // namespace ouro::fs
