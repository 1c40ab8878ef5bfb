// A request as the kernel's FUSE client would send it, put together piece by piece, and falsified
// where a test wants that. A value; used by tests with FakeKernel.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "fs/protocol.hpp"

namespace ouro::fs {

class Message {
 public:
  static constexpr std::uint64_t kRootNode = FUSE_ROOT_ID;

  explicit Message(std::uint32_t opcode, std::uint64_t node = kRootNode);

  // The arguments, in the order of the calls.
  template <typename T>
  Message& with(const T& argument) {
    static_assert(std::is_trivially_copyable_v<T>);
    return bytes(std::as_bytes(std::span(&argument, 1)));
  }
  Message& name(std::string_view text);  // with a NUL behind it
  Message& text(std::string_view text);  // without
  Message& bytes(std::span<const std::byte> raw);
  Message& zeros(std::size_t count);

  // FakeKernel::send() chooses a unique id unless there is one.
  Message& unique(std::uint64_t value);
  Message& from(uid_t uid, gid_t gid, pid_t pid = 0);
  // Extensions come last on the wire, whenever they are added.
  Message& extra_group(gid_t group);
  Message& extension(std::span<const std::byte> raw);
  // Falsifies the header: the length of the message, the 8-byte units of its extensions.
  Message& claim_bytes(std::uint32_t count);
  Message& claim_extension_units(std::uint16_t count);

  [[nodiscard]] const fuse_in_header& header() const { return header_; }
  // The message as it goes over the wire.
  [[nodiscard]] std::vector<std::byte> encode() const;

 private:
  fuse_in_header header_{};
  std::vector<std::byte> arguments_;
  std::vector<std::byte> extensions_;
  std::optional<std::uint32_t> claimed_bytes_;
  std::optional<std::uint16_t> claimed_extension_units_;
};

}  // namespace ouro::fs
