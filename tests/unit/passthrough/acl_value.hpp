// POSIX ACLs in the form that the kernel takes as an extended attribute, without libacl.
#pragma once

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include <filesystem>
#include <initializer_list>
#include <string>

#include <gtest/gtest.h>

namespace ouro::passthrough {

struct AclEntry {
  unsigned short tag;   // ACL_USER_OBJ, ...
  unsigned short perm;  // ACL_READ | ...
  unsigned id = static_cast<unsigned>(ACL_UNDEFINED_ID);
};

// The entries must be in the kernel's order: by tag, then by id.
inline std::string acl_value(std::initializer_list<AclEntry> entries) {
  const posix_acl_xattr_header header{POSIX_ACL_XATTR_VERSION};
  std::string value(reinterpret_cast<const char*>(&header), sizeof header);
  for (const AclEntry& entry : entries) {
    const posix_acl_xattr_entry raw{entry.tag, entry.perm, entry.id};
    value.append(reinterpret_cast<const char*>(&raw), sizeof raw);
  }
  return value;
}

inline void set_acl(const std::filesystem::path& path, const char* attribute,
                    const std::string& value) {
  ASSERT_EQ(::setxattr(path.c_str(), attribute, value.data(), value.size(), 0), 0);
}

}  // namespace ouro::passthrough
