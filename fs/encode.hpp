// From plain types to the structs of the wire.
#pragma once

#include <sys/stat.h>

#include "fs/connection.hpp"
#include "fs/protocol.hpp"
#include "passthrough/tree.hpp"

namespace ouro::fs {

void encode(const struct ::statx& stat, fuse_attr& out);
void encode(const struct ::statx& stat, wire::Statx& out);
void encode(const passthrough::Entry& entry, const CachePolicy& cache, fuse_entry_out& out);
// "There is no such name", for as long as the policy says.
void encode_negative(const CachePolicy& cache, fuse_entry_out& out);

// Splits a time span into the two fields that the wire has for it.
template <typename Seconds, typename Nanoseconds>
void encode_timeout(std::uint64_t timeout_ns, Seconds& seconds, Nanoseconds& nanoseconds) {
  seconds = static_cast<Seconds>(timeout_ns / 1'000'000'000);
  nanoseconds = static_cast<Nanoseconds>(timeout_ns % 1'000'000'000);
}

}  // namespace ouro::fs
