#include "passthrough/credentials.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop/invariant.hpp"

namespace ouro::passthrough {
namespace {

constexpr std::uint64_t capability_bit(unsigned capability) {
  return std::uint64_t{1} << capability;
}

constexpr std::uint64_t kPassDirectories =
    capability_bit(CAP_DAC_OVERRIDE) | capability_bit(CAP_DAC_READ_SEARCH);
// What setfsuid() to a non-zero uid takes away (capabilities(7)), so what a caller does not have.
constexpr std::uint64_t kFileSystemCapabilities =
    kPassDirectories | capability_bit(CAP_CHOWN) | capability_bit(CAP_FOWNER) |
    capability_bit(CAP_FSETID) | capability_bit(CAP_MKNOD) | capability_bit(CAP_LINUX_IMMUTABLE) |
    capability_bit(CAP_MAC_OVERRIDE);

// KERNEL: whoever has it takes reserved blocks and no notice of quotas (fs/ext4/balloc.c,
// ext4_has_free_clusters(); fs/quota/dquot.c, ignore_hardlimit()).
constexpr std::uint64_t kSpaceOfRoot = capability_bit(CAP_SYS_RESOURCE);

// What is left of the daemon's capabilities for somebody else.
std::uint64_t capabilities_for(Credentials::Kind kind, std::uint64_t own) {
  const std::uint64_t without = own & ~(kFileSystemCapabilities | kSpaceOfRoot);
  switch (kind) {
    case Credentials::Kind::kWithoutFsetid:
      return own & ~capability_bit(CAP_FSETID);
    case Credentials::Kind::kOwner:
      return without | kPassDirectories;
    case Credentials::Kind::kCaller:
      return without;
    case Credentials::Kind::kPayer:
      return own & ~kSpaceOfRoot;
  }
  return without;
}

struct CapabilitySets {
  std::uint64_t effective = 0;
  std::uint64_t permitted = 0;
  std::uint64_t inheritable = 0;
};

loop::Result<CapabilitySets> read_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (::syscall(SYS_capget, &header, data) < 0) return loop::fail(errno);
  const auto join = [](std::uint32_t low, std::uint32_t high) {
    return low | static_cast<std::uint64_t>(high) << 32;
  };
  return CapabilitySets{join(data[0].effective, data[1].effective),
                        join(data[0].permitted, data[1].permitted),
                        join(data[0].inheritable, data[1].inheritable)};
}

void set_effective(std::uint64_t effective) {
  auto sets = read_capabilities();
  loop::invariant(sets.has_value(), "capget() failed");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
    data[i].effective = static_cast<std::uint32_t>(effective >> (32 * i));
    data[i].permitted = static_cast<std::uint32_t>(sets->permitted >> (32 * i));
    data[i].inheritable = static_cast<std::uint32_t>(sets->inheritable >> (32 * i));
  }
  loop::invariant(::syscall(SYS_capset, &header, data) == 0, "capset() within the permitted set");
}

void set_fs_ids(uid_t uid, gid_t gid) {
  ::syscall(SYS_setfsgid, gid);
  ::syscall(SYS_setfsuid, uid);
  // These calls report nothing but the former value, so ask again with one that is never valid.
  loop::invariant(static_cast<gid_t>(::syscall(SYS_setfsgid, -1)) == gid &&
                      static_cast<uid_t>(::syscall(SYS_setfsuid, -1)) == uid,
                  "a file-system identity could not be set");
}

void set_group_list(std::span<const gid_t> groups) {
  loop::invariant(::syscall(SYS_setgroups, groups.size(), groups.data()) == 0,
                  "setgroups() failed");
}

}  // namespace

loop::Result<ProcessIdentity> ProcessIdentity::take() {
  OURO_TRY_ASSIGN(const CapabilitySets sets, read_capabilities());
  ProcessIdentity identity;
  identity.uid_ = ::geteuid();
  identity.gid_ = ::getegid();
  identity.capabilities_ = sets.effective;
  constexpr std::uint64_t kNeeded = capability_bit(CAP_SETUID) | capability_bit(CAP_SETGID) |
                                    kPassDirectories | capability_bit(CAP_FSETID);
  identity.switches_ = identity.uid_ == 0 && (sets.effective & kNeeded) == kNeeded;
  // A root daemon's own groups would be everybody's groups.
  if (identity.switches_ && ::setgroups(0, nullptr) < 0) return loop::fail(errno);
  return identity;
}

ScopedCredentials::ScopedCredentials(const ProcessIdentity& identity,
                                     const Credentials* credentials, std::span<const gid_t> groups)
    : identity_(identity), credentials_(identity.switches() ? credentials : nullptr) {
  if (credentials_ == nullptr) return;
  if (credentials_->kind == Credentials::Kind::kWithoutFsetid) {
    set_fs_ids(identity_.uid(), credentials_->gid);
    set_effective(capabilities_for(credentials_->kind, identity_.capabilities()));
    return;
  }
  if (groups.empty() && credentials_->extra_group) groups = {&*credentials_->extra_group, 1};
  has_groups_ = !groups.empty();
  if (has_groups_) set_group_list(groups);
  set_fs_ids(credentials_->uid, credentials_->gid);
  if (credentials_->uid == identity_.uid()) return;
  set_effective(capabilities_for(credentials_->kind, identity_.capabilities()));
}

ScopedCredentials::~ScopedCredentials() {
  if (credentials_ == nullptr) return;
  set_fs_ids(identity_.uid(), identity_.gid());
  if (has_groups_) set_group_list({});
  set_effective(identity_.capabilities());
}

}  // namespace ouro::passthrough
