// The completion object of one SQE: intrusive, owned by the caller, without allocation.
//
// Lifetime: from AioContext::add_sqe until on_cqe() is entered for its last CQE, when the handler
// is the caller's again. on_cqe() may therefore free the handler, submit it again, or poll its own
// context. Everything belongs to the context's home thread.
#pragma once

#include <array>
#include <cstdint>

#include "loop/invariant.hpp"

namespace ouro::loop {

// A CQE, copied out of the queue. `res` is a value >= 0 or -errno; `flags` are IORING_CQE_F_*;
// `extra` is the second half of a 32-byte CQE (RingOptions::cqe32), else zeros.
struct Cqe {
  std::int32_t res = 0;
  std::uint32_t flags = 0;
  std::array<std::uint64_t, 2> extra{};
};

// What outlives a context that had to drop requests (AioContext::~AioContext).
struct ContextFate {
  bool dropped = false;
  ContextFate* before = nullptr;  // such contexts are listed, so that they do not count as leaked
};

class CqeHandler {
 public:
  enum class State : std::uint8_t {
    kIdle,      // not known to any context
    kInFlight,  // its SQE was handed over, and CQEs are still to come
    kReady,     // its last completion waits for the dispatch phase
    kRunning,   // on_cqe() runs for its last completion: may be freed or submitted again
    kDropped,   // its context ended without it: the kernel may still use what the SQE points to
  };

  // When on_cqe() runs. kReap is for the loop's own bookkeeping, which must not call users.
  enum class Phase : std::uint8_t { kDispatch, kReap };

  CqeHandler(const CqeHandler&) = delete;
  CqeHandler& operator=(const CqeHandler&) = delete;

  [[nodiscard]] State state() const {
    if (in_flight_) return fate_->dropped ? State::kDropped : State::kInFlight;
    if (ready_ > 0) return State::kReady;
    return destroyed_ != nullptr ? State::kRunning : State::kIdle;
  }

 protected:
  explicit CqeHandler(Phase phase = Phase::kDispatch) : phase_(phase) {}
  // Sanitizers do not see what the kernel writes, so this is checked in every build.
  virtual ~CqeHandler() {
    invariant(free() || state() == State::kDropped,
              "a CqeHandler was destroyed while its request is in flight");
    if (destroyed_ != nullptr) *destroyed_ = true;
  }

  // Runs in the dispatch phase of the home thread, never inside a submission, in the order of the
  // CQEs. Once per add_sqe; for a multishot request once per CQE, all but the last of which have
  // IORING_CQE_F_MORE in their flags.
  virtual void on_cqe(const Cqe& cqe) = 0;

 private:
  friend class AioContext;
  friend class CompletionFifo;

  [[nodiscard]] bool free() const { return !in_flight_ && ready_ == 0; }
  [[nodiscard]] bool linked() const { return chain_before_ != nullptr || sqe_flags_ != 0; }

  const ContextFate* fate_ = nullptr;  // of the context that has it in flight
  bool* destroyed_ = nullptr;          // while on_cqe() runs: set by the destructor
  CqeHandler* chain_next_ = nullptr;   // the links of a chain that is in flight
  CqeHandler* chain_before_ = nullptr;
  std::uint32_t ready_ = 0;  // completions that wait for the dispatch phase
  bool in_flight_ = false;
  std::uint8_t sqe_flags_ = 0;  // IOSQE_* of one with a link behind it, else 0
  std::uint8_t opcode_ = 0;
  const Phase phase_;
};

}  // namespace ouro::loop
