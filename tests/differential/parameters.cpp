// The value domains other than paths and slots, which are in parameter_paths.cpp.
#include "tests/differential/parameters.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <limits>

namespace ouro::differential {
namespace {

#define OURO_NAMED(symbol)                       \
  NamedValue {                                   \
#symbol, static_cast < std::int64_t>(symbol) \
  }

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20  // since Linux 6.9
#endif

constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kFourGibi = std::int64_t{1} << 32;
constexpr std::int64_t kSixteenTebi = std::int64_t{1} << 44;
constexpr std::int64_t kMebi = std::int64_t{1} << 20;
constexpr std::int64_t kBadMemory = 2;

constexpr NamedValue kOpenNames[] = {
    OURO_NAMED(O_TMPFILE),  OURO_NAMED(O_SYNC),      OURO_NAMED(O_DSYNC),  OURO_NAMED(O_CREAT),
    OURO_NAMED(O_EXCL),     OURO_NAMED(O_TRUNC),     OURO_NAMED(O_APPEND), OURO_NAMED(O_DIRECT),
    OURO_NAMED(O_NOFOLLOW), OURO_NAMED(O_DIRECTORY), OURO_NAMED(O_PATH),   OURO_NAMED(O_NOATIME),
    OURO_NAMED(O_RDWR),     OURO_NAMED(O_WRONLY)};

constexpr NamedValue kAtNames[] = {OURO_NAMED(AT_SYMLINK_NOFOLLOW), OURO_NAMED(AT_SYMLINK_FOLLOW),
                                   OURO_NAMED(AT_REMOVEDIR), OURO_NAMED(AT_EMPTY_PATH)};
constexpr NamedValue kAccessFlagNames[] = {OURO_NAMED(AT_SYMLINK_NOFOLLOW), OURO_NAMED(AT_EACCESS),
                                           OURO_NAMED(AT_EMPTY_PATH)};
constexpr NamedValue kRenameNames[] = {OURO_NAMED(RENAME_NOREPLACE), OURO_NAMED(RENAME_EXCHANGE),
                                       OURO_NAMED(RENAME_WHITEOUT)};
constexpr NamedValue kAccessNames[] = {OURO_NAMED(R_OK), OURO_NAMED(W_OK), OURO_NAMED(X_OK)};
constexpr NamedValue kTypeNames[] = {OURO_NAMED(S_IFREG), OURO_NAMED(S_IFIFO), OURO_NAMED(S_IFSOCK),
                                     OURO_NAMED(S_IFCHR), OURO_NAMED(S_IFDIR)};
constexpr NamedValue kIdNames[] = {{"keep", -1}, {"root", 0}};
constexpr NamedValue kWhenceNames[] = {OURO_NAMED(SEEK_SET),  OURO_NAMED(SEEK_CUR),
                                       OURO_NAMED(SEEK_END),  OURO_NAMED(SEEK_DATA),
                                       OURO_NAMED(SEEK_HOLE), {"invalid", 9}};
constexpr NamedValue kFallocateNames[] = {
    OURO_NAMED(FALLOC_FL_KEEP_SIZE),    OURO_NAMED(FALLOC_FL_PUNCH_HOLE),
    OURO_NAMED(FALLOC_FL_ZERO_RANGE),   OURO_NAMED(FALLOC_FL_COLLAPSE_RANGE),
    OURO_NAMED(FALLOC_FL_INSERT_RANGE), OURO_NAMED(FALLOC_FL_UNSHARE_RANGE)};
constexpr NamedValue kWriteFlagNames[] = {OURO_NAMED(RWF_APPEND), OURO_NAMED(RWF_DSYNC),
                                          OURO_NAMED(RWF_SYNC), OURO_NAMED(RWF_NOAPPEND)};
constexpr NamedValue kFillNames[] = {
    {"A", 1},  {"B", 2},  {"C", 3},  {"D", 4},  {"E", 5},  {"F", 6},  {"G", 7},
    {"H", 8},  {"I", 9},  {"J", 10}, {"K", 11}, {"L", 12}, {"M", 13}, {"N", 14},
    {"O", 15}, {"P", 16}, {"Q", 17}, {"R", 18}, {"S", 19}, {"T", 20}, {"U", 21},
    {"V", 22}, {"W", 23}, {"X", 24}, {"Y", 25}, {"Z", 26}};
constexpr NamedValue kMemoryNames[] = {{"aligned", 0}, {"unaligned", 1}, {"bad", kBadMemory}};
constexpr NamedValue kSyncNames[] = {{"none", 0}, OURO_NAMED(MS_SYNC), OURO_NAMED(MS_ASYNC)};
constexpr NamedValue kSharingNames[] = {OURO_NAMED(MAP_PRIVATE), OURO_NAMED(MAP_SHARED)};
constexpr NamedValue kXattrFlagNames[] = {OURO_NAMED(XATTR_CREATE), OURO_NAMED(XATTR_REPLACE)};
constexpr NamedValue kFlockNames[] = {OURO_NAMED(LOCK_SH), OURO_NAMED(LOCK_EX),
                                      OURO_NAMED(LOCK_UN)};
constexpr NamedValue kCommandNames[] = {OURO_NAMED(F_SETLK), OURO_NAMED(F_OFD_SETLK)};
constexpr NamedValue kLockNames[] = {OURO_NAMED(F_RDLCK), OURO_NAMED(F_WRLCK), OURO_NAMED(F_UNLCK)};
constexpr NamedValue kIoctlNames[] = {OURO_NAMED(FS_IOC_GETFLAGS),
                                      OURO_NAMED(FS_IOC_FSGETXATTR),
                                      OURO_NAMED(FIONREAD),
                                      OURO_NAMED(TCGETS),
                                      {"unknown", 0x5599}};
constexpr NamedValue kDanceNames[] = {
    {"plain", 0}, {"seekdir", 1}, {"rewinddir", 2}, {"change", 3}};
constexpr NamedValue kAclNames[] = {{"access", 0}, {"default", 1}};

struct NamedStamp {
  const char* name;
  timespec value;
};

// Explicit times keep away from the present: see timeline.hpp.
constexpr NamedStamp kStamps[] = {{"now", {0, UTIME_NOW}},
                                  {"omit", {0, UTIME_OMIT}},
                                  {"epoch", {0, 0}},
                                  {"1ns", {0, 1}},
                                  {"2001", {999999999, 123456789}},
                                  {"2000", {946684800, 999999999}},
                                  {"2038", {std::int64_t{1} << 31, 500}},
                                  {"2106", {(std::int64_t{1} << 32) - 1, 1}},
                                  {"1969", {-1, 7}},
                                  {"1901", {-(std::int64_t{1} << 31), 0}},
                                  {"far-future", {std::int64_t{1} << 35, 3}},
                                  {"far-past", {-(std::int64_t{1} << 35), 3}},
                                  {"invalid", {5, 1000000000}}};

template <std::size_t kCount>
constexpr std::array<NamedValue, kCount> index_names(const NamedStamp (&stamps)[kCount]) {
  std::array<NamedValue, kCount> names{};
  for (std::size_t i = 0; i < kCount; ++i) {
    names[i] = {stamps[i].name, static_cast<std::int64_t>(i)};
  }
  return names;
}
constexpr auto kStampNames = index_names(kStamps);

constexpr auto kNoId = static_cast<std::uint32_t>(ACL_UNDEFINED_ID);
constexpr AclEntry kMinimalAcl[] = {
    {ACL_USER_OBJ, 6, kNoId}, {ACL_GROUP_OBJ, 4, kNoId}, {ACL_OTHER, 4, kNoId}};
constexpr AclEntry kUserAcl[] = {{ACL_USER_OBJ, 7, kNoId},
                                 {ACL_USER, 7, 1001},
                                 {ACL_GROUP_OBJ, 5, kNoId},
                                 {ACL_MASK, 7, kNoId},
                                 {ACL_OTHER, 0, kNoId}};
constexpr AclEntry kGroupAcl[] = {{ACL_USER_OBJ, 7, kNoId},  {ACL_USER, 4, 1002},
                                  {ACL_GROUP_OBJ, 1, kNoId}, {ACL_GROUP, 6, 2001},
                                  {ACL_MASK, 5, kNoId},      {ACL_OTHER, 1, kNoId}};
constexpr AclEntry kDenyingAcl[] = {{ACL_USER_OBJ, 6, kNoId},
                                    {ACL_USER, 0, 1001},
                                    {ACL_GROUP_OBJ, 7, kNoId},
                                    {ACL_MASK, 7, kNoId},
                                    {ACL_OTHER, 7, kNoId}};
constexpr AclEntry kInvalidAcl[] = {
    {ACL_USER_OBJ, 7, kNoId}, {ACL_USER, 7, 1001}, {ACL_OTHER, 7, kNoId}};  // lacks group and mask
constexpr std::span<const AclEntry> kAclShapes[] = {kMinimalAcl, kUserAcl,    kGroupAcl,
                                                    kDenyingAcl, kInvalidAcl, {}};
constexpr NamedValue kShapeNames[] = {{"minimal", 0}, {"user", 1},    {"group", 2},
                                      {"denying", 3}, {"invalid", 4}, {"empty", 5}};

// A list of equally likely values: repeat one to see it more often.
template <std::int64_t... kValues>
Argument one_of(Random& random) {
  static constexpr std::int64_t kAll[] = {kValues...};
  return {random.pick(std::span<const std::int64_t>(kAll)), {}};
}

Argument number(std::int64_t value) {
  return {value, {}};
}

Argument generate_open_flags(Random& random) {
  std::int64_t flags =
      one_of<O_RDWR | O_CREAT, O_RDWR | O_CREAT, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY,
             O_WRONLY | O_APPEND, O_RDWR | O_APPEND | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
             O_RDWR | O_CREAT | O_TRUNC, O_WRONLY | O_TRUNC, O_RDONLY | O_CREAT>(random)
          .number;
  constexpr std::int64_t kRare[] = {O_SYNC,   O_DSYNC, O_NOFOLLOW, O_NOATIME,  O_TRUNC,
                                    O_APPEND, O_EXCL,  O_ACCMODE,  O_DIRECTORY};
  if (random.percent(15)) flags |= random.pick(std::span<const std::int64_t>(kRare));
  return number(flags);
}

Argument generate_mode(Random& random) {
  if (random.percent(10)) return number(static_cast<std::int64_t>(random.below(010000)));
  return one_of<0644, 0666, 0666, 0777, 0777, 0600, 0660, 0640, 0444, 0755, 04755, 02755, 06777,
                02644, 0>(random);
}

Argument generate_directory_mode(Random& random) {
  if (random.percent(5)) return number(static_cast<std::int64_t>(random.below(010000)));
  return one_of<0755, 0777, 0777, 0777, 02777, 01777, 0770, 02750, 0700>(random);
}

Argument generate_length(Random& random) {
  if (random.percent(20)) return number(static_cast<std::int64_t>(random.below(20000)));
  if (random.percent(2)) return one_of<kMebi, kMebi + 4097, kMebi - 1>(random);
  return one_of<0, 1, 3, 100, 511, 512, 513, 1000, 4095, 4096, 4096, 4097, 8192, 10000, 12288,
                65536, 65537, 131072>(random);
}

Argument generate_position(Random& random) {
  if (random.percent(3)) {
    return one_of<-2, kEnd, kEnd - 1, kEnd - 4095, kEnd - 4096, kFourGibi, kFourGibi - 1,
                  kSixteenTebi, kSixteenTebi - 4096, kSixteenTebi - 4097>(random);
  }
  if (random.percent(25)) return number(static_cast<std::int64_t>(random.below(100000)));
  if (random.percent(30)) return number(4096 * static_cast<std::int64_t>(random.below(32)));
  return one_of<0, 0, 1, 100, 511, 512, 4095, 4096, 4097, 8192, 65536, 131072, 262144>(random);
}

// The same, but at times -1: the position of the descriptor itself.
Argument generate_offset(Random& random) {
  return random.percent(25) ? number(-1) : generate_position(random);
}

Argument generate_map_offset(Random& random) {
  return number(4096 * static_cast<std::int64_t>(random.below(8)) + (random.percent(3) ? 1 : 0));
}

Argument generate_fallocate_mode(Random& random) {
  constexpr std::int64_t kKeep = FALLOC_FL_KEEP_SIZE;
  // Few file systems know these, and where one side does the sequence ends.
  if (random.percent(5)) {
    return one_of<FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE>(
        random);
  }
  return one_of<0, 0, 0, kKeep, kKeep, FALLOC_FL_PUNCH_HOLE | kKeep, FALLOC_FL_PUNCH_HOLE | kKeep,
                FALLOC_FL_PUNCH_HOLE | kKeep, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE,
                FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | kKeep>(random);
}

Argument generate_xattr_name(Random& random) {
  static const std::string kNames[] = {"user.a",
                                       "user.a",
                                       "user.a",
                                       "user.a",
                                       "user.a",
                                       "user.a",
                                       "user.b",
                                       "user.b",
                                       "user.c",
                                       "user.a.b",
                                       "trusted.t",
                                       "trusted.t",
                                       "security.s",
                                       "security.capability",
                                       "user.@250",
                                       "user.@251",
                                       "user.",
                                       "bogus.x",
                                       "nodot",
                                       "",
                                       "system.x",
                                       "system.posix_acl_access",
                                       "system.posix_acl_access",
                                       "system.posix_acl_default"};
  return {0, random.pick(std::span<const std::string>(kNames))};
}

std::int64_t align_down(std::int64_t value) {
  return value & ~std::int64_t{4095};
}

}  // namespace

const ParameterType kOpenFlags{Form::kFlags, Role::kValue, kOpenNames, generate_open_flags};
const ParameterType kDirectFlags{
    Form::kFlags, Role::kValue, kOpenNames,
    one_of<O_RDWR | O_DIRECT, O_RDWR | O_DIRECT | O_CREAT, O_RDONLY | O_DIRECT,
           O_RDWR | O_DIRECT | O_DSYNC, O_WRONLY | O_DIRECT | O_APPEND>};
const ParameterType kDirectoryFlags{Form::kFlags, Role::kValue, kOpenNames,
                                    one_of<O_DIRECTORY, O_DIRECTORY, 0, O_DIRECTORY | O_NOFOLLOW,
                                           O_DIRECTORY | O_RDWR, O_DIRECTORY | O_CREAT>};
const ParameterType kPathFlags{Form::kFlags, Role::kValue, kOpenNames,
                               one_of<O_PATH, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY>};
const ParameterType kTmpfileFlags{
    Form::kFlags, Role::kValue, kOpenNames,
    one_of<O_TMPFILE | O_RDWR, O_TMPFILE | O_RDWR, O_TMPFILE | O_WRONLY,
           O_TMPFILE | O_RDWR | O_EXCL, O_TMPFILE>};
const ParameterType kReopenFlags{Form::kFlags, Role::kValue, kOpenNames,
                                 one_of<O_RDONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC>};
const ParameterType kStatusFlags{Form::kFlags, Role::kValue, kOpenNames,
                                 one_of<0, 0, O_APPEND, O_APPEND, O_NOATIME, O_DIRECT>};

const ParameterType kMode{Form::kOctal, Role::kValue, {}, generate_mode};
const ParameterType kDirectoryMode{Form::kOctal, Role::kValue, {}, generate_directory_mode};
const ParameterType kMask{
    Form::kOctal, Role::kValue, {}, one_of<0, 0, 022, 022, 027, 077, 0777, 0222, 002>};
const ParameterType kAccessMode{Form::kFlags, Role::kValue, kAccessNames,
                                one_of<F_OK, R_OK, W_OK, X_OK, R_OK | W_OK, R_OK | X_OK, 7, 8>};
const ParameterType kNodeType{
    Form::kChoice, Role::kValue, kTypeNames,
    one_of<S_IFIFO, S_IFIFO, S_IFREG, S_IFREG, S_IFSOCK, S_IFCHR, S_IFDIR>};
const ParameterType kUid{Form::kChoice, Role::kValue, kIdNames,
                         one_of<-1, -1, 0, 1001, 1001, 1002, 1002>};
const ParameterType kGid{Form::kChoice, Role::kValue, kIdNames,
                         one_of<-1, -1, 0, 1001, 1001, 1002, 2001, 2001>};
const ParameterType kStamp{Form::kChoice, Role::kValue, kStampNames,
                           one_of<0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12>};

const ParameterType kFollowFlags{
    Form::kFlags, Role::kValue, kAtNames,
    one_of<0, 0, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_REMOVEDIR>};
const ParameterType kAccessFlags{Form::kFlags, Role::kValue, kAccessFlagNames,
                                 one_of<0, 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH>};
const ParameterType kUnlinkFlags{
    Form::kFlags, Role::kValue, kAtNames,
    one_of<0, 0, 0, AT_REMOVEDIR, AT_REMOVEDIR, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW>};
const ParameterType kRenameFlags{
    Form::kFlags, Role::kValue, kRenameNames,
    one_of<0, RENAME_NOREPLACE, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE, RENAME_WHITEOUT,
           RENAME_NOREPLACE | RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_WHITEOUT, 8>};
const ParameterType kLinkFlags{Form::kFlags, Role::kValue, kAtNames,
                               one_of<0, AT_SYMLINK_FOLLOW, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH>};

const ParameterType kLength{Form::kDecimal, Role::kValue, {}, generate_length};
const ParameterType kOffset{Form::kDecimal, Role::kValue, {}, generate_offset};
const ParameterType kPosition{Form::kDecimal, Role::kValue, {}, generate_position};
const ParameterType kFileSize{Form::kDecimal, Role::kValue, {}, generate_position};
const ParameterType kFill{
    Form::kChoice, Role::kValue, kFillNames, [](Random& random) {
      return number(1 + static_cast<std::int64_t>(random.below(std::size(kFillNames))));
    }};
const ParameterType kPieces{Form::kDecimal, Role::kValue, {}, one_of<1, 2, 3, 7, 40>};
const ParameterType kMemory{Form::kChoice, Role::kValue, kMemoryNames, [](Random& random) {
                              return random.percent(96) ? number(0) : one_of<1, 2>(random);
                            }};
const ParameterType kWhence{
    Form::kChoice, Role::kValue, kWhenceNames,
    one_of<SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_DATA, SEEK_HOLE, SEEK_HOLE, 9>};
const ParameterType kFallocateMode{Form::kFlags, Role::kValue, kFallocateNames,
                                   generate_fallocate_mode};
const ParameterType kWriteFlags{
    Form::kFlags, Role::kValue, kWriteFlagNames,
    one_of<0, RWF_APPEND, RWF_APPEND, RWF_DSYNC, RWF_SYNC, RWF_NOAPPEND, RWF_APPEND | RWF_DSYNC>};

const ParameterType kMapOffset{Form::kDecimal, Role::kValue, {}, generate_map_offset};
const ParameterType kMapLength{
    Form::kDecimal, Role::kValue, {}, one_of<0, 1, 100, 4096, 4097, 8192, 20000, 65536>};
const ParameterType kMapSync{Form::kChoice, Role::kValue, kSyncNames,
                             one_of<0, MS_SYNC, MS_SYNC, MS_ASYNC>};
const ParameterType kMapSharing{Form::kChoice, Role::kValue, kSharingNames,
                                one_of<MAP_PRIVATE, MAP_SHARED>};

const ParameterType kXattrName{Form::kText, Role::kValue, {}, generate_xattr_name};
const ParameterType kXattrSize{
    Form::kDecimal, Role::kValue, {}, one_of<0, 1, 5, 20, 20, 100, 100, 700, 3900, 65536, 65537>};
const ParameterType kXattrRoom{
    Form::kDecimal, Role::kValue, {}, one_of<0, 1, 10, 200, 4096, 65536, 65536, 65536>};
const ParameterType kXattrFlags{Form::kFlags, Role::kValue, kXattrFlagNames,
                                one_of<0, 0, 0, XATTR_CREATE, XATTR_REPLACE, 3, 4>};
const ParameterType kAclWhich{Form::kChoice, Role::kValue, kAclNames, one_of<0, 1>};
const ParameterType kAclShape{Form::kChoice, Role::kValue, kShapeNames,
                              one_of<0, 1, 1, 2, 2, 3, 4, 5>};

const ParameterType kFlockOperation{Form::kChoice, Role::kValue, kFlockNames,
                                    one_of<LOCK_SH, LOCK_EX, LOCK_UN>};
const ParameterType kLockCommand{Form::kChoice, Role::kValue, kCommandNames,
                                 one_of<F_SETLK, F_OFD_SETLK>};
const ParameterType kLockType{Form::kChoice, Role::kValue, kLockNames,
                              one_of<F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK>};
const ParameterType kLockStart{Form::kDecimal, Role::kValue, {}, one_of<0, 0, 10, 100, kEnd, -1>};
const ParameterType kLockLength{Form::kDecimal, Role::kValue, {}, one_of<0, 1, 10, 100>};
const ParameterType kIoctlRequest{
    Form::kChoice, Role::kValue, kIoctlNames,
    one_of<FS_IOC_GETFLAGS, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FIONREAD, TCGETS, 0x5599>};

// 280 bytes hold one name of 255 bytes: a directory takes several reads.
const ParameterType kListBytes{Form::kDecimal, Role::kValue, {}, one_of<280, 600, 4096, 65536>};
const ParameterType kListDance{Form::kChoice, Role::kValue, kDanceNames, one_of<0, 0, 1, 2, 3>};
const ParameterType kReadlinkBytes{
    Form::kDecimal, Role::kValue, {}, one_of<0, 1, 10, 4096, 4096, 4096>};
const ParameterType kEntryCount{Form::kDecimal, Role::kValue, {}, one_of<5, 30, 120>};

timespec stamp_value(std::int64_t stamp) {
  return std::span(kStamps)[static_cast<std::size_t>(stamp) % std::size(kStamps)].value;
}

const char* acl_name(std::int64_t which) {
  return which == 0 ? "system.posix_acl_access" : "system.posix_acl_default";
}

std::span<const AclEntry> acl_shape(std::int64_t shape) {
  return kAclShapes[static_cast<std::size_t>(shape) % std::size(kAclShapes)];
}

// The largest file of ext4 with 4K blocks, the smallest of the native limits.
constexpr std::int64_t kBeyondLargestFile = (std::int64_t{1} << 44) - 4096;

void probe_beyond_largest_file(Random& /*random*/, Call& call) {
  // What a change that must fail has left behind is to be seen at this very call.
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    const ParameterType* type = call.row->parameters()[i].type;
    const bool is_position = type == &kPosition || type == &kOffset;
    if (is_position && call.arguments[i].number >= kBeyondLargestFile) call.probe = true;
  }
}

bool gives_bad_memory(const Call& call) {
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].type == &kMemory) return call.arguments[i].number == kBadMemory;
  }
  return false;
}

void adjust_copy(Random& random, Call& call) {
  probe_beyond_largest_file(random, call);
  // Where alignment decides how far a copy comes, its traces are to be seen at once, too.
  if (call.number("to") == kDirectIoSlot || call.number("from") == kDirectIoSlot) {
    call.probe = true;
  }
}

void adjust_transfer(Random& random, Call& call) {
  // Whether a write that fails at a bad address touches the times must be seen at this very call.
  if (gives_bad_memory(call)) call.probe = true;
  probe_beyond_largest_file(random, call);
  if (call.number("slot") != kDirectIoSlot || random.percent(10)) return;
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    const ParameterType* type = call.row->parameters()[i].type;
    if (type == &kLength || type == &kPosition) {
      call.arguments[i].number = align_down(call.arguments[i].number);
    }
    if (type == &kMemory) call.arguments[i].number = 0;
  }
}

void bound_allocation(Random& random, Call& call) {
  probe_beyond_largest_file(random, call);
  if (!random.percent(3)) return;
  call.argument("length").number = kEnd;
  std::int64_t& offset = call.argument("offset").number;
  if (offset < 1) offset = 1;
}

}  // namespace ouro::differential
