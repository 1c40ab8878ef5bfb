// Executors of calls that read or change attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/differential/call.hpp"
#include "tests/differential/executors.hpp"
#include "tests/differential/observe.hpp"
#include "tests/differential/outcome.hpp"
#include "tests/differential/parameters.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

#ifndef SYS_fchmodat2
constexpr long kFchmodat2 = 452;  // since Linux 6.6, not known to older headers
#else
constexpr long kFchmodat2 = SYS_fchmodat2;
#endif

std::string path_of(const Call& call) {
  return expand_path(call.text("path"));
}
mode_t mode_of(const Call& call) {
  return static_cast<mode_t>(call.number("mode"));
}
uid_t uid_of(const Call& call) {
  return static_cast<uid_t>(call.number("uid"));
}
gid_t gid_of(const Call& call) {
  return static_cast<gid_t>(call.number("gid"));
}
int flags_of(const Call& call) {
  return static_cast<int>(call.number("flags"));
}

void finish_stat(const Side& side, Outcome& outcome, int result, const struct stat& attributes) {
  if (outcome.finish(result)) observe_stat(outcome, "", attributes, side.root_device());
}

// Free space changes on its own; what is reported here must not.
void finish_statfs(Outcome& outcome, int result, const struct statfs& filesystem) {
  if (!outcome.finish(result)) return;
  outcome.number("f_type", filesystem.f_type);
  outcome.number("f_bsize", filesystem.f_bsize);
  outcome.number("f_frsize", filesystem.f_frsize);
  outcome.number("f_blocks", static_cast<std::int64_t>(filesystem.f_blocks));
  outcome.number("f_namelen", filesystem.f_namelen);
  outcome.number("f_flags", filesystem.f_flags);
  outcome.number("has_files", filesystem.f_files > 0 ? 1 : 0);
  outcome.number("free_within_total", filesystem.f_bavail <= filesystem.f_blocks ? 1 : 0);
}

void observe_statx(Outcome& outcome, const struct statx& attributes) {
  constexpr std::uint64_t kAttributes = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE |
                                        STATX_ATTR_APPEND | STATX_ATTR_NODUMP |
                                        STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY;
  outcome.number("basic_mask", attributes.stx_mask & STATX_BASIC_STATS);
  outcome.number("has_btime", (attributes.stx_mask & STATX_BTIME) != 0 ? 1 : 0);
  outcome.number("attributes", static_cast<std::int64_t>(attributes.stx_attributes & kAttributes));
  outcome.text("type", type_name(attributes.stx_mode));
  outcome.octal("mode", attributes.stx_mode);
  outcome.number("nlink", attributes.stx_nlink);
  outcome.number("uid", attributes.stx_uid);
  outcome.number("gid", attributes.stx_gid);
  outcome.number("size", static_cast<std::int64_t>(attributes.stx_size));
  const auto time = [](const statx_timestamp& stamp) {
    return to_nanoseconds({stamp.tv_sec, static_cast<long>(stamp.tv_nsec)});
  };
  outcome.time("mtime", time(attributes.stx_mtime));
  outcome.time("ctime", time(attributes.stx_ctime));
  if ((attributes.stx_mask & STATX_BTIME) != 0) outcome.time("btime", time(attributes.stx_btime));
}

bool same_inode(const struct stat& left, const struct stat& right) {
  return left.st_ino == right.st_ino && left.st_dev == right.st_dev;
}

}  // namespace

void execute_stat(Side& side, const Call& call, Outcome& outcome) {
  struct stat attributes {};
  finish_stat(side, outcome, ::stat(path_of(call).c_str(), &attributes), attributes);
}

void execute_lstat(Side& side, const Call& call, Outcome& outcome) {
  struct stat attributes {};
  finish_stat(side, outcome, ::lstat(path_of(call).c_str(), &attributes), attributes);
}

void execute_fstat(Side& side, const Call& call, Outcome& outcome) {
  struct stat attributes {};
  finish_stat(side, outcome, ::fstat(side.fd(call.number("slot")), &attributes), attributes);
}

void execute_fstatat(Side& side, const Call& call, Outcome& outcome) {
  struct stat attributes {};
  const int result = ::fstatat(side.directory(call.number("dir")), path_of(call).c_str(),
                               &attributes, flags_of(call));
  finish_stat(side, outcome, result, attributes);
}

void execute_statx(Side&, const Call& call, Outcome& outcome) {
  struct statx attributes {};
  const int result = ::statx(AT_FDCWD, path_of(call).c_str(), flags_of(call),
                             STATX_BASIC_STATS | STATX_BTIME, &attributes);
  if (outcome.finish(result)) observe_statx(outcome, attributes);
}

void execute_chmod(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::chmod(path_of(call).c_str(), mode_of(call)));
}

void execute_fchmod(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fchmod(side.fd(call.number("slot")), mode_of(call)));
}

void execute_fchmodat2(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(
      ::syscall(kFchmodat2, AT_FDCWD, path_of(call).c_str(), mode_of(call), flags_of(call)));
}

void execute_chown(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::chown(path_of(call).c_str(), uid_of(call), gid_of(call)));
}

void execute_lchown(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::lchown(path_of(call).c_str(), uid_of(call), gid_of(call)));
}

void execute_fchown(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fchown(side.fd(call.number("slot")), uid_of(call), gid_of(call)));
}

void execute_utimensat(Side&, const Call& call, Outcome& outcome) {
  const timespec times[] = {stamp_value(call.number("atime")), stamp_value(call.number("mtime"))};
  outcome.finish(::utimensat(AT_FDCWD, path_of(call).c_str(), times, flags_of(call)));
}

void execute_futimens(Side& side, const Call& call, Outcome& outcome) {
  const timespec times[] = {stamp_value(call.number("atime")), stamp_value(call.number("mtime"))};
  outcome.finish(::futimens(side.fd(call.number("slot")), times));
}

void execute_access(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::syscall(SYS_faccessat2, AT_FDCWD, path_of(call).c_str(),
                           static_cast<int>(call.number("mode")), flags_of(call)));
}

void execute_statfs(Side&, const Call& call, Outcome& outcome) {
  struct statfs filesystem {};
  finish_statfs(outcome, ::statfs(path_of(call).c_str(), &filesystem), filesystem);
}

void execute_fstatfs(Side& side, const Call& call, Outcome& outcome) {
  struct statfs filesystem {};
  finish_statfs(outcome, ::fstatfs(side.fd(call.number("slot")), &filesystem), filesystem);
}

// The mask belongs to the process, so the second side would see what the first has set: the answer
// is not reported.
void execute_umask(Side&, const Call& call, Outcome& outcome) {
  ::umask(static_cast<mode_t>(call.number("mask")));
  outcome.finish(0);
}

void execute_same_file(Side&, const Call& call, Outcome& outcome) {
  struct stat first {};
  struct stat second {};
  if (!outcome.finish(::stat(expand_path(call.text("first")).c_str(), &first))) return;
  if (!outcome.finish(::stat(expand_path(call.text("second")).c_str(), &second))) return;
  outcome.number("same", same_inode(first, second) ? 1 : 0);
}

void execute_same_open(Side& side, const Call& call, Outcome& outcome) {
  struct stat opened {};
  struct stat named {};
  if (!outcome.finish(::fstat(side.fd(call.number("slot")), &opened))) return;
  if (!outcome.finish(::stat(path_of(call).c_str(), &named))) return;
  outcome.number("same", same_inode(opened, named) ? 1 : 0);
}

}  // namespace ouro::differential
