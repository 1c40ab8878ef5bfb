// All that is known of an opcode in one row: name, smallest arguments, how it may run, and the
// handler. The server looks nothing up elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fs/closer.hpp"
#include "fs/connection.hpp"
#include "fs/request.hpp"
#include "fs/transport.hpp"
#include "loop/result.hpp"
#include "passthrough/executor.hpp"
#include "passthrough/tree.hpp"

namespace ouro::fs {

// What a handler works with: the shared tree, and the executors of the thread it runs in.
struct OperationContext {
  passthrough::Tree& tree;
  passthrough::Executor& executor;
  const Connection& connection;
  Closer& closer;
  const Notifier& notifier;
  passthrough::LockListener& lock_listener;  // of the loop that the request came to
  bool in_worker = false;                    // so that it may wait for what the loops serve
};

// Bytes of request.payload() that make the reply, or the errno to reply.
using Reply = loop::Result<std::size_t>;

// How a request may be run.
enum class Route : std::uint8_t {
  kControl,  // the server's own: no reply, or none from a handler; never held back
  kAtOnce,   // never waits, and is served even from the slots kept back (RELEASE)
  kLooks,    // metadata that is mostly known to the kernel: tried first where nothing may block
  kWaits,    // metadata: may wait for the ring in a nested loop, one at a time
  kCalls,    // metadata without an SQE form
  kPool,     // has no SQE form and can take long: a worker thread
  kData,     // starts an operation and replies when it is done
};

struct OpcodeRow {
  std::uint32_t opcode;
  const char* name;
  std::size_t min_argument_bytes;
  Route route;
  // For every route but kControl and kData; and for WRITE, what its end has to wait for, in a
  // worker.
  Reply (*handle)(OperationContext&, Request&) = nullptr;
  // For kData: begins an operation of request.transfer(); an error is replied at once.
  loop::Status (*begin)(OperationContext&, passthrough::AsyncExecutor&, Request&) = nullptr;
  // Takes back what a successful reply granted, when it did not arrive.
  void (*undo)(OperationContext&, Request&) = nullptr;
};

// The row of an opcode, or nullptr for one that is not served (ENOSYS).
[[nodiscard]] const OpcodeRow* find_opcode(std::uint32_t opcode);

}  // namespace ouro::fs
