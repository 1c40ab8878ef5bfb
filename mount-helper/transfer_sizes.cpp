#include "mount-helper/transfer_sizes.hpp"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "mount-helper/byte_size.hpp"
#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {
namespace {

using loop::LogLevel;

// KERNEL(5.4): FUSE_MAX_MAX_PAGES, where it is no setting yet.
constexpr std::uint64_t kFixedLimit = 256;
constexpr std::uint64_t kKiB = 1024;

// Why it stays as it is; empty if it does not.
std::string raise_limit(const KernelSetting& limit, std::uint64_t before, std::uint64_t pages,
                        Log& log) {
  const auto raised = limit.write(pages);
  if (raised) {
    log.write(LogLevel::kInfo, "raised " + limit.path() + " from " + std::to_string(before) +
                                   " to " + std::to_string(pages) +
                                   " for all FUSE mounts made from now on");
    return {};
  }
  const int reason = raised.error().value();
  if (reason == ENOENT) return "older kernels than Linux 6.13 cannot do more";
  return "cannot raise " + limit.path() + ": " + errno_text(reason);
}

}  // namespace

KernelSetting max_pages_limit() {
  return KernelSetting("/proc/sys/fs/fuse/max_pages_limit");
}

std::uint32_t settle_max_write(const Options& options, const KernelSetting& limit, Log& log) {
  const std::uint32_t wanted = options.max_write_bytes;
  const std::uint64_t pages = wanted / kPageBytes;
  const std::uint64_t before = limit.read().value_or(kFixedLimit);
  if (pages <= before) return wanted;
  std::string reason = "as root, raise_max_pages_limit raises that";
  if (options.raise_max_pages_limit) {
    reason = raise_limit(limit, before, pages, log);
    if (reason.empty()) return wanted;
  }
  const auto bytes = static_cast<std::uint32_t>(std::max<std::uint64_t>(before, 1) * kPageBytes);
  log.write(LogLevel::kWarning, "max_write=" + byte_size_text(wanted) +
                                    " is beyond the limit of this machine; max_write=" +
                                    byte_size_text(bytes) + " is in force (" + reason + ")");
  return bytes;
}

loop::UniqueFd open_read_aheads() {
  return loop::UniqueFd(::open("/sys/class/bdi", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

KernelSetting read_ahead_of(dev_t device, const loop::UniqueFd& read_aheads) {
  return KernelSetting(
      std::to_string(major(device)) + ":" + std::to_string(minor(device)) + "/read_ahead_kb",
      read_aheads.get());
}

std::uint64_t settle_read_ahead(const Options& options, const KernelSetting& setting,
                                std::uint32_t agreed, Log& log) {
  const std::uint64_t wanted = options.max_readahead_bytes.value_or(agreed);
  std::string reason;
  if (wanted > agreed) {
    const auto set = setting.write(wanted / kKiB);
    if (!set) reason = errno_text(set.error().value());
  }
  const auto kib = setting.read();
  const std::uint64_t bytes = kib ? *kib * kKiB : agreed;
  if (!reason.empty()) {
    log.write(LogLevel::kWarning,
              "cannot set max_readahead=" + byte_size_text(wanted) + ": " + reason +
                  "; max_readahead=" + byte_size_text(bytes) +
                  " is in force (only root can have more than the kernel offers)");
  }
  return bytes;
}

}  // namespace ouro::mount_helper
