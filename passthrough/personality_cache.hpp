// The identities registered with one ring, for sqe->personality: identity by setfsuid around a
// submission would not reach linked, polled or re-issued requests.
//
// Home thread of the ring: a SINGLE_ISSUER ring takes registrations from no other.
#pragma once

#include <cstdint>
#include <list>
#include <map>

#include "loop/aio_context.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

class PersonalityCache {
 public:
  // KERNEL: a ring holds 65,534 personalities; a cache far below that is large enough.
  static constexpr std::size_t kCapacity = 1024;

  PersonalityCache(loop::AioContext& context, const ProcessIdentity& identity)
      : context_(context), identity_(identity) {}
  PersonalityCache(const PersonalityCache&) = delete;
  PersonalityCache& operator=(const PersonalityCache&) = delete;

  // The personality of `credentials`, registered now unless it is known. May unregister the one
  // used longest ago: requests that were submitted keep what they have, and those still queued
  // are submitted first. Errors: those of Ring::register_personality().
  [[nodiscard]] loop::Result<std::uint16_t> acquire(const Credentials& credentials);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint16_t personality;
    std::list<Credentials>::iterator use;  // place in order_
  };

  loop::AioContext& context_;
  const ProcessIdentity& identity_;
  std::map<Credentials, Entry> entries_;
  std::list<Credentials> order_;  // least recently used first
};

}  // namespace ouro::passthrough
