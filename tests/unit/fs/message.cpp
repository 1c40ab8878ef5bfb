#include "tests/unit/fs/message.hpp"

namespace ouro::fs {
namespace {

void append(std::vector<std::byte>& to, std::span<const std::byte> raw) {
  to.insert(to.end(), raw.begin(), raw.end());
}

}  // namespace

Message::Message(std::uint32_t opcode, std::uint64_t node) {
  header_.opcode = opcode;
  header_.nodeid = node;
}

Message& Message::name(std::string_view text_of_name) {
  return text(text_of_name).zeros(1);
}

Message& Message::text(std::string_view text) {
  return bytes(std::as_bytes(std::span(text)));
}

Message& Message::bytes(std::span<const std::byte> raw) {
  append(arguments_, raw);
  return *this;
}

Message& Message::zeros(std::size_t count) {
  arguments_.resize(arguments_.size() + count);
  return *this;
}

Message& Message::unique(std::uint64_t value) {
  header_.unique = value;
  return *this;
}

Message& Message::from(uid_t uid, gid_t gid, pid_t pid) {
  header_.uid = uid;
  header_.gid = gid;
  header_.pid = static_cast<std::uint32_t>(pid);
  return *this;
}

Message& Message::extra_group(gid_t group) {
  const struct {
    fuse_ext_header header;
    std::uint32_t count;
    std::uint32_t group;
  } raw{{sizeof raw, wire::kExtGroups}, 1, group};
  return extension(std::as_bytes(std::span(&raw, 1)));
}

Message& Message::extension(std::span<const std::byte> raw) {
  append(extensions_, raw);
  return *this;
}

Message& Message::claim_bytes(std::uint32_t count) {
  claimed_bytes_ = count;
  return *this;
}

Message& Message::claim_extension_units(std::uint16_t count) {
  claimed_extension_units_ = count;
  return *this;
}

std::vector<std::byte> Message::encode() const {
  fuse_in_header header = header_;
  const std::size_t bytes = sizeof header + arguments_.size() + extensions_.size();
  header.len = claimed_bytes_.value_or(static_cast<std::uint32_t>(bytes));
  header.total_extlen =
      claimed_extension_units_.value_or(static_cast<std::uint16_t>(extensions_.size() / 8));
  std::vector<std::byte> wire;
  wire.reserve(bytes);
  append(wire, std::as_bytes(std::span(&header, 1)));
  append(wire, arguments_);
  append(wire, extensions_);
  return wire;
}

}  // namespace ouro::fs
