// The completion object of one SQE: intrusive, owned by the caller, without allocation.
//
// Lifetime: from AioContext::add_sqe until on_cqe() is entered, when the handler is already idle
// again. on_cqe() may therefore free the handler, submit it again, or poll its own context.
// Everything belongs to the context's home thread.
#pragma once

#include <cstdint>

#include "loop/invariant.hpp"

namespace ouro::loop {

// What is kept of a CQE. `res` is a value >= 0 or -errno; `flags` are IORING_CQE_F_*.
struct Cqe {
  std::int32_t res = 0;
  std::uint32_t flags = 0;
};

class CqeHandler {
 public:
  enum class State : std::uint8_t {
    kIdle,      // not known to any context
    kInFlight,  // its SQE was handed over, no CQE was reaped yet
    kReady,     // its completion waits for the dispatch phase
  };

  // When on_cqe() runs. kReap is for the loop's own bookkeeping, which must not call users.
  enum class Phase : std::uint8_t { kDispatch, kReap };

  CqeHandler(const CqeHandler&) = delete;
  CqeHandler& operator=(const CqeHandler&) = delete;

  [[nodiscard]] State state() const { return state_; }

 protected:
  explicit CqeHandler(Phase phase = Phase::kDispatch) : phase_(phase) {}
  // Sanitizers do not see what the kernel writes, so this is checked in every build.
  virtual ~CqeHandler() {
    invariant(state_ == State::kIdle, "a CqeHandler was destroyed while its request is in flight");
  }

  // Runs in the dispatch phase of the home thread, never inside a submission, once per add_sqe.
  virtual void on_cqe(const Cqe& cqe) = 0;

 private:
  friend class AioContext;

  CqeHandler* next_ = nullptr;
  Cqe cqe_;
  State state_ = State::kIdle;
  const Phase phase_;
  std::uint8_t opcode_ = 0;
};

}  // namespace ouro::loop
