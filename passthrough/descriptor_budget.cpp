#include "passthrough/descriptor_budget.hpp"

#include <fcntl.h>

#include <cerrno>

#include "loop/unique_fd.hpp"

namespace ouro::passthrough {

std::size_t DescriptorBudget::end(Use use) const {
  return use == Use::kFile ? reserve_begin() : limit_ - limit_ / 16;
}

loop::Status DescriptorBudget::check_room(Use use, int any_fd) {
  if (last_.load(std::memory_order_relaxed) < reserve_begin()) return {};
  // That was then: what would one get now?
  const loop::UniqueFd probe(::fcntl(any_fd, F_DUPFD_CLOEXEC, 0));
  if (probe) {
    note(probe.get());
    if (static_cast<std::size_t>(probe.get()) < end(use)) return {};
  }
  if (refused_) std::call_once(told_, refused_);
  return loop::fail(EMFILE);
}

}  // namespace ouro::passthrough
