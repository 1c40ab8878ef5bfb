// POSIX ACLs as the kernel stores them in extended attributes, and nothing of libacl.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ouro::testing {

inline constexpr const char* kAccessAcl = "system.posix_acl_access";
inline constexpr const char* kDefaultAcl = "system.posix_acl_default";

struct AclEntry {
  enum Tag : std::uint16_t {
    kUserObj = 1,
    kUser = 2,
    kGroupObj = 4,
    kGroup = 8,
    kMask = 16,
    kOther = 32
  };
  Tag tag;
  std::uint16_t permissions;
  std::uint32_t id = ~0U;
};

// Entries in the order of their tags.
[[nodiscard]] inline std::string encode_acl(const std::vector<AclEntry>& entries) {
  const auto put = [](std::string& text, std::uint32_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xffU);
  };
  std::string text;
  put(text, 2, 4);  // POSIX_ACL_XATTR_VERSION
  for (const AclEntry& entry : entries) {
    put(text, entry.tag, 2);
    put(text, entry.permissions, 2);
    put(text, entry.id, 4);
  }
  return text;
}

}  // namespace ouro::testing
