#include "passthrough/durable_ids.hpp"

#include <cstring>
#include <vector>

namespace ouro::passthrough {

std::uint64_t DurableIds::number_in(const SourceHandle& handle, const Layout& layout) {
  if (layout.number_bytes == sizeof(std::uint64_t)) {
    std::uint64_t number = 0;
    std::memcpy(&number, handle.bytes().data() + layout.number_at, sizeof number);
    return number;
  }
  std::uint32_t number = 0;
  std::memcpy(&number, handle.bytes().data() + layout.number_at, sizeof number);
  return number;
}

std::optional<DurableIds> DurableIds::like(const SourceHandle& root, std::uint64_t inode_number) {
  for (const Layout& layout : kLayouts) {
    if (root.bytes().size() == layout.bytes && number_in(root, layout) == inode_number) {
      return DurableIds(root.type(), layout);
    }
  }
  return std::nullopt;
}

std::optional<NodeId> DurableIds::id_of(const SourceHandle& handle,
                                        std::uint64_t inode_number) const {
  const bool is_alike = handle.type() == type_ && handle.bytes().size() == layout_->bytes &&
                        number_in(handle, *layout_) == inode_number;
  if (!is_alike || inode_number == 0 || inode_number > kLargest) return std::nullopt;
  std::uint32_t generation = 0;
  std::memcpy(&generation, handle.bytes().data() + layout_->generation_at, sizeof generation);
  return NodeId{generation} << 32 | kMark | inode_number;
}

SourceHandle DurableIds::handle_of(NodeId durable) const {
  std::vector<std::byte> bytes(layout_->bytes);
  const std::uint64_t number = inode_number(durable);
  const auto short_number = static_cast<std::uint32_t>(number);
  const auto generation = static_cast<std::uint32_t>(durable >> 32);
  if (layout_->number_bytes == sizeof number) {
    std::memcpy(bytes.data() + layout_->number_at, &number, sizeof number);
  } else {
    std::memcpy(bytes.data() + layout_->number_at, &short_number, sizeof short_number);
  }
  std::memcpy(bytes.data() + layout_->generation_at, &generation, sizeof generation);
  return SourceHandle(type_, std::move(bytes));
}

}  // namespace ouro::passthrough
