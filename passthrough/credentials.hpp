// Whose identity an operation runs under, and how a thread takes it on.
//
// Only raw system calls are used: glibc's set*id functions would change every thread. An identity
// that cannot be given back ends the process, because the next request would run as somebody else.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "loop/result.hpp"

namespace ouro::passthrough {

// Who asked. `extra_group` is the one supplementary group that the kernel sends along where it
// decides something (FUSE_CREATE_SUPP_GROUP, 6.3: the parent directory's group).
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;  // 0: not in our pid namespace
  std::optional<gid_t> extra_group;
};

// What of an identity is changed for one operation.
struct Credentials {
  enum class Kind : std::uint8_t {
    // The daemon's own identity without CAP_FSETID, in the caller's group: the backing file system
    // then clears set-id bits as it does for an ordinary writer.
    kWithoutFsetid,
    // The caller's fsuid, fsgid and group, as the owner of what is created. The right to pass
    // directories (CAP_DAC_OVERRIDE) stays: the kernel's FUSE client has checked permissions
    // (default_permissions) with all the groups that the caller has, of which we know one.
    kOwner,
    // The caller and nothing else, for questions about permissions.
    kCaller,
    // The caller's fsuid and fsgid, with all that the daemon may do but take the space which
    // is kept for root: whose share of the disk it is, where everything else was decided before.
    kPayer,
  };
  Kind kind = Kind::kOwner;
  uid_t uid = 0;
  gid_t gid = 0;
  std::optional<gid_t> extra_group;

  [[nodiscard]] static Credentials without_fsetid(gid_t group = 0) {
    return {.kind = Kind::kWithoutFsetid, .gid = group, .extra_group = {}};
  }
  [[nodiscard]] static Credentials owner(const Caller& caller) {
    return {Kind::kOwner, caller.uid, caller.gid, caller.extra_group};
  }
  [[nodiscard]] static Credentials caller(const Caller& caller) {
    return {Kind::kCaller, caller.uid, caller.gid, caller.extra_group};
  }
  // Empty for root: the daemon's own.
  [[nodiscard]] static std::optional<Credentials> payer(uid_t uid, gid_t gid) {
    if (uid == 0) return std::nullopt;
    return Credentials{.kind = Kind::kPayer, .uid = uid, .gid = gid, .extra_group = {}};
  }
  [[nodiscard]] static std::optional<Credentials> payer(const Caller& caller) {
    return payer(caller.uid, caller.gid);
  }
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 misreads a defaulted comparison.
  friend auto operator<=>(const Credentials&, const Credentials&) = default;
};

// Credentials for later, when what decides is not known yet: with all supplementary groups of whom
// they are. Of who has none, or cannot be asked, `extra_group` is all that is known.
struct LastingCredentials {
  Credentials credentials;
  std::vector<gid_t> groups;
  friend bool operator==(const LastingCredentials&, const LastingCredentials&) = default;
};

// What this process may do, read once at start. A plain user's daemon cannot become anybody else:
// switches() is false, and every operation runs as that user.
class ProcessIdentity {
 public:
  // Reads the calling thread's identity; empties the supplementary groups of a root daemon (the
  // calling thread's: call it before other threads exist). Errors: EPERM.
  [[nodiscard]] static loop::Result<ProcessIdentity> take();
  // True if ScopedCredentials has an effect.
  [[nodiscard]] bool switches() const { return switches_; }
  [[nodiscard]] uid_t uid() const { return uid_; }
  [[nodiscard]] gid_t gid() const { return gid_; }
  // Effective capabilities, bit n for capability n.
  [[nodiscard]] std::uint64_t capabilities() const { return capabilities_; }

 private:
  bool switches_ = false;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  std::uint64_t capabilities_ = 0;
};

// The calling thread has `credentials` from construction to destruction (nullptr: no change), and
// with them `groups`, unless that is empty.
class ScopedCredentials {
 public:
  ScopedCredentials(const ProcessIdentity& identity, const Credentials* credentials,
                    std::span<const gid_t> groups = {});
  ScopedCredentials(const ScopedCredentials&) = delete;
  ScopedCredentials& operator=(const ScopedCredentials&) = delete;
  ~ScopedCredentials();

 private:
  const ProcessIdentity& identity_;
  const Credentials* credentials_;
  bool has_groups_ = false;
};

}  // namespace ouro::passthrough
