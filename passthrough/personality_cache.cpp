#include "passthrough/personality_cache.hpp"

namespace ouro::passthrough {

loop::Result<std::uint16_t> PersonalityCache::acquire(const Credentials& credentials) {
  if (const auto found = entries_.find(credentials); found != entries_.end()) {
    order_.splice(order_.end(), order_, found->second.use);
    return found->second.personality;
  }
  if (entries_.size() >= kCapacity) {
    // KERNEL: a request takes its reference to the credentials when its SQE is consumed.
    if (context_.ring().submit_all() < 0) return loop::fail(EAGAIN);
    const auto oldest = entries_.find(order_.front());
    context_.ring().unregister_personality(oldest->second.personality);
    order_.erase(oldest->second.use);
    entries_.erase(oldest);
  }
  const ScopedCredentials scope(identity_, &credentials);
  OURO_TRY_ASSIGN(const std::uint16_t personality, context_.ring().register_personality());
  entries_.emplace(credentials, Entry{personality, order_.insert(order_.end(), credentials)});
  return personality;
}

}  // namespace ouro::passthrough
