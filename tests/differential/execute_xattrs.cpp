// Executors of the extended attribute calls; ACLs and file capabilities are attributes too.
#include <endian.h>
#include <linux/capability.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include <cstdint>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "tests/differential/call.hpp"
#include "tests/differential/executors.hpp"
#include "tests/differential/observe.hpp"
#include "tests/differential/outcome.hpp"
#include "tests/differential/parameters.hpp"
#include "tests/differential/payload.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

std::string path_of(const Call& call) {
  return expand_path(call.text("path"));
}
std::string name_of(const Call& call) {
  return expand_path(call.text("name"));
}
std::size_t size_of(const Call& call) {
  return static_cast<std::size_t>(call.number("size"));
}
int flags_of(const Call& call) {
  return static_cast<int>(call.number("flags"));
}

Buffer value_of(const Call& call) {
  Buffer value(size_of(call));
  fill_pattern({value.data(), value.size()}, call.number("fill"));
  return value;
}

// With a size of 0 the kernel only tells how long the value is.
void finish_get(const Call& call, Outcome& outcome, ssize_t length, const Buffer& buffer) {
  if (!outcome.finish(length) || size_of(call) == 0) return;
  outcome.text("value", describe_xattr(name_of(call), buffer.first(length)));
}

void finish_list(const Call& call, Outcome& outcome, ssize_t length, const Buffer& buffer) {
  if (!outcome.finish(length) || size_of(call) == 0) return;
  outcome.text("names",
               escape(fmt::format("{}", fmt::join(split_xattr_names(buffer.first(length)), ","))));
}

char* as_text(const Buffer& buffer) {
  return reinterpret_cast<char*>(buffer.data());
}

// The binary form of "tag:id:permissions" entries.
std::string encode_acl(std::span<const AclEntry> entries) {
  const posix_acl_xattr_header header{htole32(POSIX_ACL_XATTR_VERSION)};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  for (const AclEntry& entry : entries) {
    const posix_acl_xattr_entry encoded{htole16(entry.tag), htole16(entry.permissions),
                                        htole32(entry.id)};
    bytes.append(reinterpret_cast<const char*>(&encoded), sizeof encoded);
  }
  return bytes;
}

std::string encode_capability() {
  vfs_cap_data data{};
  data.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE);
  data.data[0].permitted = htole32(1U << CAP_NET_RAW);
  return {reinterpret_cast<const char*>(&data), XATTR_CAPS_SZ_2};
}

}  // namespace

void execute_setxattr(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::setxattr(path_of(call).c_str(), name_of(call).c_str(), value_of(call).data(),
                            size_of(call), flags_of(call)));
}

void execute_lsetxattr(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::lsetxattr(path_of(call).c_str(), name_of(call).c_str(), value_of(call).data(),
                             size_of(call), flags_of(call)));
}

void execute_fsetxattr(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fsetxattr(side.fd(call.number("slot")), name_of(call).c_str(),
                             value_of(call).data(), size_of(call), flags_of(call)));
}

void execute_getxattr(Side&, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_get(call, outcome,
             ::getxattr(path_of(call).c_str(), name_of(call).c_str(), buffer.data(), size_of(call)),
             buffer);
}

void execute_lgetxattr(Side&, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_get(
      call, outcome,
      ::lgetxattr(path_of(call).c_str(), name_of(call).c_str(), buffer.data(), size_of(call)),
      buffer);
}

void execute_fgetxattr(Side& side, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_get(call, outcome,
             ::fgetxattr(side.fd(call.number("slot")), name_of(call).c_str(), buffer.data(),
                         size_of(call)),
             buffer);
}

void execute_listxattr(Side&, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_list(call, outcome, ::listxattr(path_of(call).c_str(), as_text(buffer), size_of(call)),
              buffer);
}

void execute_llistxattr(Side&, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_list(call, outcome, ::llistxattr(path_of(call).c_str(), as_text(buffer), size_of(call)),
              buffer);
}

void execute_flistxattr(Side& side, const Call& call, Outcome& outcome) {
  const Buffer buffer(size_of(call));
  finish_list(call, outcome,
              ::flistxattr(side.fd(call.number("slot")), as_text(buffer), size_of(call)), buffer);
}

void execute_removexattr(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::removexattr(path_of(call).c_str(), name_of(call).c_str()));
}

void execute_lremovexattr(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::lremovexattr(path_of(call).c_str(), name_of(call).c_str()));
}

void execute_fremovexattr(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fremovexattr(side.fd(call.number("slot")), name_of(call).c_str()));
}

void execute_setacl(Side&, const Call& call, Outcome& outcome) {
  const std::string value = encode_acl(acl_shape(call.number("shape")));
  outcome.finish(::setxattr(path_of(call).c_str(), acl_name(call.number("which")), value.data(),
                            value.size(), 0));
}

void execute_fsetacl(Side& side, const Call& call, Outcome& outcome) {
  const std::string value = encode_acl(acl_shape(call.number("shape")));
  outcome.finish(::fsetxattr(side.fd(call.number("slot")), acl_name(call.number("which")),
                             value.data(), value.size(), 0));
}

void execute_setcap(Side&, const Call& call, Outcome& outcome) {
  const std::string value = encode_capability();
  outcome.finish(
      ::setxattr(path_of(call).c_str(), "security.capability", value.data(), value.size(), 0));
}

}  // namespace ouro::differential
