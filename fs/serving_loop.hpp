// Everything one loop needs to serve a channel, put together: context, executors, transport,
// server. Created, run and destroyed in its own thread.
#pragma once

#include <memory>
#include <string>

#include "fs/connection.hpp"
#include "fs/request_tracer.hpp"
#include "fs/ring_transport.hpp"
#include "fs/server.hpp"
#include "loop/aio_context.hpp"
#include "passthrough/inline_executor.hpp"
#include "passthrough/ring_executor.hpp"
#include "passthrough/tree.hpp"

namespace ouro::fs {

enum class Backing : std::uint8_t { kRing, kInline };
// kAuto: in the loop what cannot block, everything else in the worker pool.
enum class Metadata : std::uint8_t { kInline, kNested, kAuto };
enum class Tracing : std::uint8_t { kOff, kOn };

// What all loops of a mount share. Outlives them.
struct Shared {
  passthrough::Tree& tree;
  const passthrough::ProcessIdentity& identity;
  const Connection& connection;
  InterruptRelay& relay;
  unsigned loops;           // how many there are
  std::size_t queue_depth;  // of each queue, where requests come by the ring
  Backing backing;
  Metadata metadata;
  Tracing tracing;
  loop::LogSink log;
};

class ServingLoop {
 public:
  // `channel_fd` is borrowed. Errors: of the ring and of the slots' memory.
  [[nodiscard]] static loop::Result<std::unique_ptr<ServingLoop>> create(unsigned number,
                                                                         int channel_fd,
                                                                         const Shared& shared);

  // Serves until the file system is unmounted, the connection aborted, or the loop drained.
  void run();
  // Ends run() when the requests in progress are answered. Any thread.
  void drain() { drain_.schedule(); }
  // Logs what this loop has done so far. Any thread; the line comes from the loop's own.
  void post_statistics() { statistics_.schedule(); }
  // The same at once, in the loop's thread.
  void log_statistics() const;

  [[nodiscard]] bool takes_requests_by_ring() const { return by_ring_ != nullptr; }
  // What is really at work, as `transport=... backing=... metadata=...`.
  [[nodiscard]] const std::string& modes() const { return modes_; }
  [[nodiscard]] loop::AioContext& context() { return *context_; }
  [[nodiscard]] Server& server() { return server_; }

 private:
  // How requests come to the loop; `by_ring` is `any` if that is the ring.
  struct Way {
    std::unique_ptr<Transport> any;
    RingTransport* by_ring = nullptr;
  };

  ServingLoop(unsigned number, std::unique_ptr<loop::AioContext> context, const Shared& shared,
              Way way);
  [[nodiscard]] static loop::Result<Way> create_transport(unsigned number,
                                                          loop::AioContext& context, int channel_fd,
                                                          const Shared& shared);
  [[nodiscard]] Executors choose_executors(const Shared& shared);
  void pin() const;

  const unsigned number_;
  const unsigned loops_;
  // Before the context, which drops what the kernel still holds of it.
  const std::unique_ptr<Transport> transport_;
  RingTransport* const by_ring_;  // transport_, or null
  const std::unique_ptr<loop::AioContext> context_;
  passthrough::RingExecutor ring_;
  passthrough::InlineExecutor inline_;
  passthrough::TryingExecutor trying_;
  passthrough::InlineAsyncExecutor inline_data_;
  const passthrough::Tree& tree_;
  const KernelBacking* const kernel_backing_;  // null: not in force
  Server server_;
  std::unique_ptr<RequestTracer> tracer_;  // in front of server_; null: not wanted
  loop::BottomHalf drain_;
  loop::BottomHalf statistics_;
  const loop::LogSink log_;
  const std::string modes_;
};

}  // namespace ouro::fs
