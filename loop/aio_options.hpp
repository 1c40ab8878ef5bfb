// How an AioContext is made.
#pragma once

#include <cstdint>

#include "loop/adaptive_polling.hpp"
#include "loop/log.hpp"
#include "loop/ring_options.hpp"

namespace ouro::loop {

// What watches descriptors. kAuto: the ring where there is one, else epoll.
enum class Backend : std::uint8_t { kAuto, kUring, kEpoll, kPoll };

// Whether the context has a ring. kAuto: as the first context of the process found it, so that
// either all have one or none. kNever is for tests, and for who must do without.
enum class RingUse : std::uint8_t { kAuto, kNever };

// What becomes of requests that are in flight when their context ends. kCancel: each handler is
// called, mostly with -ECANCELED. kDrop: no handler is called (as in QEMU): their owners must keep
// what the SQEs point to for as long as the process lives.
enum class OnDestroy : std::uint8_t { kCancel, kDrop };

// Whether a foreign event loop may drive the context (AioContext::foreign_prepare).
enum class Drive : std::uint8_t { kOwn, kForeign };

struct AioOptions {
  RingOptions ring{};
  RingUse ring_use = RingUse::kAuto;
  Backend backend = Backend::kAuto;
  Drive drive = Drive::kOwn;
  OnDestroy on_destroy = OnDestroy::kCancel;
  // How long the destructor waits for what the kernel does not let it cancel.
  std::int64_t destroy_timeout_ns = 5'000'000'000;
  PollingOptions polling{};
  LogSink log = {};  // empty: silent
};

}  // namespace ouro::loop
