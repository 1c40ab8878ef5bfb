// The order that ThreadSanitizer cannot see: what happened before a request was handed to the
// kernel happens before what follows its completion. Without TSan these do nothing.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define OURO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OURO_TSAN 1
#endif
#endif

#ifdef OURO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace ouro::loop {

// A request leaves for the kernel, and will come back as a completion of that address.
inline void tsan_release([[maybe_unused]] void* address) {
#ifdef OURO_TSAN
  ::__tsan_release(address);
#endif
}

// It is back.
inline void tsan_acquire([[maybe_unused]] void* address) {
#ifdef OURO_TSAN
  ::__tsan_acquire(address);
#endif
}

}  // namespace ouro::loop
