#include "mount-helper/session_options.hpp"

#include <unistd.h>

#include "fs/protocol.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kDayNs = 86'400 * kSecondNs;

// What a mode means before the single options have their say.
fs::CachePolicy mode_policy(CacheMode mode) {
  switch (mode) {
    case CacheMode::kNever:  // every look goes to the source
      return {0, 0, 0, FOPEN_DIRECT_IO, 0, 0};
    case CacheMode::kMetadata:  // names and attributes change through this mount only
      return {kDayNs, kDayNs, 0, FOPEN_DIRECT_IO, FOPEN_CACHE_DIR, 0};
    case CacheMode::kAlways:  // so does data
      return {kDayNs, kDayNs, kDayNs, FOPEN_KEEP_CACHE, FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE, 0};
    case CacheMode::kAuto:
      break;
  }
  // Data is kept until somebody else changes it (watches_content()).
  return {kSecondNs, kSecondNs, 0, FOPEN_KEEP_CACHE, 0, 0};
}

void override_timeout(const std::optional<double>& seconds, std::uint64_t& timeout_ns) {
  if (seconds) timeout_ns = static_cast<std::uint64_t>(*seconds * static_cast<double>(kSecondNs));
}

fs::KernelBackingOptions::Use use_of_kernel(BackingMode mode) {
  using Use = fs::KernelBackingOptions::Use;
  if (mode == BackingMode::kKernel) return Use::kWanted;
  return mode == BackingMode::kAuto ? Use::kIfPossible : Use::kOff;
}

fs::Metadata metadata_of(MetadataMode mode) {
  switch (mode) {
    case MetadataMode::kNested:
      return fs::Metadata::kNested;
    case MetadataMode::kAuto:
      return fs::Metadata::kAuto;
    case MetadataMode::kInline:
      break;
  }
  return fs::Metadata::kInline;
}

}  // namespace

fs::CachePolicy cache_policy(const Options& options) {
  fs::CachePolicy policy = mode_policy(options.cache);
  override_timeout(options.attr_timeout_s, policy.attribute_timeout_ns);
  override_timeout(options.entry_timeout_s, policy.entry_timeout_ns);
  override_timeout(options.negative_timeout_s, policy.negative_timeout_ns);
  if (options.direct_io) policy.file_open_flags = FOPEN_DIRECT_IO;
  if (options.writeback) policy.init_flags |= FUSE_WRITEBACK_CACHE;
  // The kernel may not run such writes side by side unless it is told that it may.
  if ((policy.file_open_flags & FOPEN_DIRECT_IO) != 0) {
    policy.file_open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
  }
  return policy;
}

bool watches_content(const Options& options) {
  return options.cache == CacheMode::kAuto && !options.direct_io;
}

fs::SessionOptions session_options(const Options& options) {
  fs::SessionOptions session;
  session.cache = cache_policy(options);
  if (options.locks == LockMode::kRemote) session.init_flags |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
  if (options.idmap) session.init_flags |= fs::wire::kAllowIdmap;
  session.max_write_bytes = options.max_write_bytes;
  session.max_readahead_bytes = options.max_readahead_bytes;
  switch (options.transport) {
    case TransportMode::kAuto:
      session.transport = fs::TransportChoice::kAuto;
      break;
    case TransportMode::kDev:
      session.transport = fs::TransportChoice::kDev;
      break;
    case TransportMode::kRing:
      session.transport = fs::TransportChoice::kRing;
      break;
  }
  session.queue_depth = options.queue_depth;
  session.backing =
      options.backing == BackingMode::kInline ? fs::Backing::kInline : fs::Backing::kRing;
  session.kernel_backing.use = use_of_kernel(options.backing);
  session.kernel_backing.max_stack_depth = options.passthrough_stack_depth;
  session.metadata = metadata_of(options.metadata);
  if (options.log_level == loop::LogLevel::kDebug) session.tracing = fs::Tracing::kOn;
  if (options.allow_root) session.only_user = ::getuid();
  return session;
}

}  // namespace ouro::mount_helper
