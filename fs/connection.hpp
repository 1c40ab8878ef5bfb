// What was agreed with the kernel and what the mount's options ask for, as data: handlers look
// values up here and do not branch on modes. Constant once serving has begun; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace ouro::fs {

// How long and how much the kernel may cache. Times in nanoseconds.
struct CachePolicy {
  std::uint64_t attribute_timeout_ns = 1'000'000'000;
  std::uint64_t entry_timeout_ns = 1'000'000'000;
  std::uint64_t negative_timeout_ns = 0;
  std::uint32_t file_open_flags = 0;       // FOPEN_* of every open file
  std::uint32_t directory_open_flags = 0;  // FOPEN_* of every open directory
  std::uint64_t init_flags = 0;            // FUSE_INIT flags that belong to the policy
};

// The result of FUSE_INIT.
struct Negotiated {
  std::uint32_t kernel_minor = 0;
  std::uint64_t flags = 0;  // in force: offered by the kernel and wanted by us
  std::uint32_t max_write_bytes = 0;
  std::uint32_t max_readahead_bytes = 0;  // at most what the kernel has offered
};

class KernelBacking;

struct Connection {
  CachePolicy cache;
  Negotiated negotiated;
  // With allow_root: nobody but this user and root is served. The kernel knows only allow_other.
  std::optional<uid_t> only_user;
  // By whom openings are answered whose data the kernel moves itself; null: there are none.
  KernelBacking* kernel_backing = nullptr;
};

}  // namespace ouro::fs
