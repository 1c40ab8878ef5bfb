// The domains of arguments: how each is drawn at random, and how it is written. The call table
// puts them together. Constants only.
#pragma once

#include <time.h>

#include <cstdint>
#include <span>

#include "tests/differential/call.hpp"

namespace ouro::differential {

// Slots. Some are used by convention, so that calls meet what they were made for: kFileSlot draws
// slots 0 to 3 (several handles on few files), and at times any other.
inline constexpr std::int64_t kFirstDirectorySlot = 5;
inline constexpr std::int64_t kDirectIoSlot = 4;
inline constexpr std::int64_t kPathOnlySlot = 7;

extern const ParameterType kFileSlot, kDirectSlot, kDirectorySlot, kPathSlot, kBaseDirectory;

// Paths: a dozen names and a few hostile ones. The skew decides what is found there.
extern const ParameterType kFilePath, kDirectoryPath, kLinkPath, kAnyPath, kSpecialPath,
    kLinkTarget;

extern const ParameterType kOpenFlags, kDirectFlags, kDirectoryFlags, kPathFlags, kTmpfileFlags,
    kReopenFlags, kStatusFlags;
extern const ParameterType kMode, kDirectoryMode, kMask, kAccessMode, kNodeType;
extern const ParameterType kUid, kGid, kStamp;
extern const ParameterType kFollowFlags, kAccessFlags, kUnlinkFlags, kRenameFlags, kLinkFlags;

extern const ParameterType kLength, kOffset, kPosition, kFileSize, kFill, kPieces, kMemory;
extern const ParameterType kWhence, kFallocateMode, kWriteFlags;
extern const ParameterType kMapOffset, kMapLength, kMapSync, kMapSharing;

extern const ParameterType kXattrName, kXattrSize, kXattrRoom, kXattrFlags, kAclWhich, kAclShape;
extern const ParameterType kFlockOperation, kLockCommand, kLockType, kLockStart, kLockLength;
extern const ParameterType kIoctlRequest;
extern const ParameterType kListBytes, kListDance, kReadlinkBytes, kEntryCount;

enum class ListDance : std::int64_t { kPlain, kSeek, kRewind, kChange };

// What the numbers of kStamp, kAclWhich and kAclShape stand for.
struct AclEntry {
  std::uint16_t tag;
  std::uint16_t permissions;
  std::uint32_t id;
};
[[nodiscard]] timespec stamp_value(std::int64_t stamp);
[[nodiscard]] const char* acl_name(std::int64_t which);
[[nodiscard]] std::span<const AclEntry> acl_shape(std::int64_t shape);

// Whether an argument is an address that is not mapped.
[[nodiscard]] bool gives_bad_memory(const Call& call);

// Adjusters, for arguments that depend on each other.
// Most I/O on the O_DIRECT slot is aligned, or it would hardly ever succeed.
void adjust_transfer(Random& random, Call& call);
void probe_beyond_largest_file(Random& random, Call& call);
void adjust_copy(Random& random, Call& call);
// A huge length is tried where it must fail, never where it would fill the disk.
void bound_allocation(Random& random, Call& call);

}  // namespace ouro::differential
