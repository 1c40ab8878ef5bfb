#include "loop/fd_monitor.hpp"

#include <poll.h>

namespace ouro::loop {

std::uint32_t AioHandler::interest() const {
  std::uint32_t events = 0;
  if (callbacks_.on_readable) events |= POLLIN | POLLHUP | POLLERR;
  if (callbacks_.on_writable) events |= POLLOUT | POLLERR;
  return events;
}

}  // namespace ouro::loop
