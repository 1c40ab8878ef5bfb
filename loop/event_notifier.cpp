#include "loop/event_notifier.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

namespace ouro::loop {

Result<EventNotifier> EventNotifier::create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail(errno);
  return EventNotifier(std::move(fd));
}

void EventNotifier::set() const {
  const int callers_errno = errno;  // which a signal handler must leave as it is
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, so the fd is readable already.
  while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = callers_errno;
}

bool EventNotifier::test_and_clear() const {
  std::uint64_t count = 0;
  KernelResult got = 0;
  do {
    got = from_libc(::read(fd_.get(), &count, sizeof count));
  } while (got == -EINTR);
  return got > 0;
}

}  // namespace ouro::loop
