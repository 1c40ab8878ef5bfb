// The FUSE wire format: the kernel's own header, which is of minor 38 on Debian 12, and what has
// come since, up to the minor in use here. No behaviour, no state.
// Source: include/uapi/linux/fuse.h of Linux 6.18.
#pragma once

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace ouro::fs::wire {

inline constexpr std::uint32_t kMajor = 7;
inline constexpr std::uint32_t kMinor = 45;

// Opcodes.
inline constexpr std::uint32_t kStatx = 52;            // 7.39
inline constexpr std::uint32_t kCopyFileRange64 = 53;  // 7.45

// INIT flags; those from 32 on travel in flags2.
inline constexpr std::uint64_t kCreateSuppGroup = std::uint64_t{1} << 34;    // 7.38
inline constexpr std::uint64_t kDirectIoAllowMmap = std::uint64_t{1} << 36;  // 7.39
inline constexpr std::uint64_t kPassthrough = std::uint64_t{1} << 37;        // 7.40
inline constexpr std::uint64_t kNoExportSupport = std::uint64_t{1} << 38;    // 7.40
inline constexpr std::uint64_t kAllowIdmap = std::uint64_t{1} << 40;         // 7.41
inline constexpr std::uint64_t kOverIoUring = std::uint64_t{1} << 41;        // 7.42

// Passthrough (7.40): where the header of minor 38 has padding, and what is new in it.
inline constexpr std::uint32_t kOpenPassthrough = 1U << 7;  // FOPEN_PASSTHROUGH
inline constexpr std::size_t kBackingIdAt = 12;             // in fuse_open_out: std::int32_t
inline constexpr std::size_t kMaxStackDepthAt = 36;         // in fuse_init_out: std::uint32_t
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
inline constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);      // of the channel
inline constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);  // the same

// The uid and gid of a request that does not say who asks: all that create nothing, once
// ALLOW_IDMAP is in force.
inline constexpr std::uint32_t kInvalidId = ~std::uint32_t{0};

// Notifications, which take the place of an error in the header of what the kernel is sent.
inline constexpr std::int32_t kNotifyPrune = 9;  // 7.45
struct NotifyPruneOut {
  std::uint32_t count;
  std::uint32_t padding;
  std::uint64_t spare;
  // followed by std::uint64_t nodes[count]
};

// Bit 0 of a request's unique id marks the INTERRUPT of the request without it.
inline constexpr std::uint64_t kInterruptBit = 1;
// The smallest buffer that read() of the channel accepts, whatever max_write is.
inline constexpr std::size_t kMinReadBuffer = FUSE_MIN_READ_BUFFER;

// Request extensions (7.38), at the end of the request, each padded to 8 bytes.
inline constexpr std::uint32_t kExtGroups = 32;
struct SuppGroups {
  std::uint32_t nr_groups;
  // followed by std::uint32_t groups[nr_groups]
};

struct StatxTime {
  std::int64_t tv_sec;
  std::uint32_t tv_nsec;
  std::int32_t reserved;
};
struct Statx {
  std::uint32_t mask;
  std::uint32_t blksize;
  std::uint64_t attributes;
  std::uint32_t nlink;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint16_t mode;
  std::uint16_t spare0;
  std::uint64_t ino;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t attributes_mask;
  StatxTime atime;
  StatxTime btime;
  StatxTime ctime;
  StatxTime mtime;
  std::uint32_t rdev_major;
  std::uint32_t rdev_minor;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint64_t spare2[14];
};
struct StatxIn {
  std::uint32_t getattr_flags;
  std::uint32_t reserved;
  std::uint64_t fh;
  std::uint32_t sx_flags;
  std::uint32_t sx_mask;
};
struct StatxOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec;
  std::uint32_t flags;
  std::uint64_t spare[2];
  Statx stat;
};
struct CopyFileRangeOut {
  std::uint64_t bytes_copied;
};

// FUSE-over-io_uring (7.42): what an entry of a queue and its commands consist of.
inline constexpr std::size_t kRingHeaderBytes = 128;
struct RingEntryInOut {
  std::uint64_t flags;
  std::uint64_t commit_id;   // names the request to COMMIT_AND_FETCH
  std::uint32_t payload_sz;  // bytes of the payload that are used, in either direction
  std::uint32_t padding;
  std::uint64_t reserved;
};
struct RingHeader {
  std::byte in_out[kRingHeaderBytes];  // fuse_in_header, and for the reply fuse_out_header
  std::byte op_in[kRingHeaderBytes];   // the first argument of the request
  RingEntryInOut entry;
};
struct RingCommand {  // in the second half of the SQE
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint16_t qid;
  std::uint8_t padding[6];
};
enum class RingCommandOp : std::uint32_t { kRegister = 1, kCommitAndFetch = 2 };

static_assert(sizeof(RingEntryInOut) == 32);
static_assert(sizeof(RingHeader) == 288);
static_assert(sizeof(RingCommand) == 24);
static_assert(sizeof(fuse_in_header) == 40);
static_assert(offsetof(fuse_in_header, total_extlen) == 36);
static_assert(sizeof(fuse_out_header) == 16);
static_assert(sizeof(fuse_init_in) == 64);
static_assert(sizeof(fuse_init_out) == 64);
static_assert(offsetof(fuse_init_out, flags2) == 32);
static_assert(sizeof(fuse_open_out) == kBackingIdAt + sizeof(std::int32_t));
static_assert(sizeof(BackingMap) == 16);
static_assert(sizeof(fuse_attr) == 88);
static_assert(sizeof(fuse_entry_out) == 128);
static_assert(sizeof(fuse_write_in) == 40);
static_assert(sizeof(fuse_setxattr_in) == 16);
static_assert(sizeof(Statx) == 256);
static_assert(sizeof(StatxIn) == 24);
static_assert(sizeof(StatxOut) == 288);

}  // namespace ouro::fs::wire
