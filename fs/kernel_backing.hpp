// backing=kernel: the kernel's client is given the files that are opened, and reads, writes and
// maps them itself (FOPEN_PASSTHROUGH). What of it may be beside what is decided by the IoMode of
// each inode; here is what that means on the wire, what is counted, and who may have it at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fs/connection.hpp"
#include "fs/protocol.hpp"
#include "loop/log.hpp"
#include "loop/result.hpp"
#include "passthrough/credentials.hpp"
#include "passthrough/file_handle.hpp"
#include "passthrough/io_mode.hpp"

namespace ouro::fs {

struct KernelBackingOptions {
  enum class Use : std::uint8_t { kOff, kIfPossible, kWanted };
  Use use = Use::kOff;
  // 1: files of what is not stacked itself, and others may be stacked on the mount. 2: of what is
  // stacked once, and nothing may be. Empty: as the source's file system seems to need.
  std::optional<std::uint32_t> max_stack_depth = {};
};

// What to ask for in the handshake. `source`: O_PATH of the source directory.
[[nodiscard]] std::uint32_t stack_depth(const KernelBackingOptions& options, int source);
// Why there is no asking for it in the handshake; empty: there is. `init_flags`: those wanted.
[[nodiscard]] std::string reason_not_to_ask(std::uint64_t init_flags,
                                            const passthrough::ProcessIdentity& identity);

// Why it cannot be had after all, by the error of try_out().
[[nodiscard]] std::string reason_of_refusal(int errno_value);

// The files that a FUSE connection was given, by ioctl() on a channel of it.
class ChannelFiles final : public passthrough::GivenFiles {
 public:
  // `channel_fd` is borrowed. Both outlive it.
  ChannelFiles(int channel_fd, const passthrough::ProcessIdentity& identity)
      : channel_fd_(channel_fd), identity_(identity) {}

  // Errors: EPERM without CAP_SYS_ADMIN or where it was not agreed on, ELOOP for a file that is
  // stacked too deep, EINVAL for what is no regular file, ENOMEM.
  [[nodiscard]] loop::Result<int> give(int fd,
                                       const passthrough::LastingCredentials* identity) override;
  void take_back(int number) override;
  // Whether files of the source can be given, as far as that can be known. Errors: EPERM, ELOOP.
  [[nodiscard]] loop::Status try_out(int source);

 private:
  const int channel_fd_;
  const passthrough::ProcessIdentity& identity_;
};

// One per mount. Any thread.
class KernelBacking {
 public:
  struct Counters {
    std::atomic<std::uint64_t> opens = 0;        // whose data moves past us
    std::atomic<std::uint64_t> mixed_opens = 0;  // who read and write by requests nevertheless
    std::atomic<std::uint64_t> other_opens = 0;  // of files that were not given
  };

  KernelBacking(std::shared_ptr<passthrough::GivenFiles> files, loop::LogSink log)
      : files_(std::move(files)), log_(std::move(log)) {}

  // `file` was just opened by `opener` with `client_flags`, and `out` is the answer to that as it
  // would be without. Counts the opening until the file is closed. True: the attributes that the
  // client has of it are to be dropped before the answer.
  [[nodiscard]] bool answer_open(passthrough::FileHandle& file, const passthrough::Caller& opener,
                                 std::uint32_t client_flags, fuse_open_out& out);

  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  void count(const passthrough::IoMode::Share& share);

  const std::shared_ptr<passthrough::GivenFiles> files_;
  const loop::LogSink log_;
  Counters counters_;
  std::atomic<bool> told_of_refusal_ = false;
};

}  // namespace ouro::fs
