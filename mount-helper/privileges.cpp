#include "mount-helper/privileges.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

namespace ouro::mount_helper {
namespace {

constexpr std::array kServing = {
    // Root's own requests, and those that the kernel's client has allowed to somebody else.
    Capability{CAP_CHOWN, "chown"},
    Capability{CAP_DAC_OVERRIDE, "dac_override"},
    Capability{CAP_DAC_READ_SEARCH, "dac_read_search"},  // and to open file handles
    Capability{CAP_FOWNER, "fowner"},
    Capability{CAP_FSETID, "fsetid"},
    Capability{CAP_MKNOD, "mknod"},
    Capability{CAP_SETFCAP, "setfcap"},
    Capability{CAP_LINUX_IMMUTABLE, "linux_immutable"},  // chattr +i: the client asks who may
    // Acting as the caller.
    Capability{CAP_SETGID, "setgid"},
    Capability{CAP_SETUID, "setuid"},
    // Attributes trusted.* and security.*, and the unmount at the end.
    Capability{CAP_SYS_ADMIN, "sys_admin"},
};

std::uint32_t kept_word(unsigned word) {
  std::uint32_t bits = 0;
  for (const Capability& capability : kServing) {
    if (capability.number / 32 == word) bits |= 1U << (capability.number % 32);
  }
  return bits;
}

bool is_kept(unsigned capability) {
  return std::ranges::find(kServing, capability, &Capability::number) != kServing.end();
}

template <typename... Arguments>
loop::Status process_control(int option, Arguments... arguments) {
  return loop::to_status(loop::from_libc(::prctl(option, arguments...)));
}

}  // namespace

std::span<const Capability> serving_capabilities() {
  return kServing;
}

loop::Status reduce_bounding_set() {
  // KERNEL: what it does not know it refuses with EINVAL; that is where its capabilities end.
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (is_kept(capability)) continue;
    OURO_TRY(process_control(PR_CAPBSET_DROP, capability, 0, 0, 0));
  }
  return {};
}

loop::Status reduce_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  OURO_TRY(loop::to_status(loop::from_libc(::syscall(SYS_capget, &header, sets.data()))));
  for (unsigned word = 0; word < sets.size(); ++word) {
    sets[word].permitted &= kept_word(word);
    sets[word].effective &= kept_word(word);
    sets[word].inheritable = 0;  // and with it the ambient set
  }
  return loop::to_status(loop::from_libc(::syscall(SYS_capset, &header, sets.data())));
}

loop::Status refuse_new_privileges() {
  return process_control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// KERNEL: a thread that takes on another identity makes the process what fs.suid_dumpable says (0
// or 2, never 1): in no case may other users trace it, or read what it dumps.
loop::Status refuse_dumps() {
  return process_control(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace ouro::mount_helper
