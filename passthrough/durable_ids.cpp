#include "passthrough/durable_ids.hpp"

#include <cstring>
#include <vector>

namespace ouro::passthrough {

namespace {

template <typename Part>
Part part_of(const std::vector<std::byte>& bytes, std::size_t at) {
  Part part{};
  std::memcpy(&part, bytes.data() + at, sizeof part);
  return part;
}

template <typename Part>
void put_part(std::vector<std::byte>& bytes, std::size_t at, Part part) {
  std::memcpy(bytes.data() + at, &part, sizeof part);
}

}  // namespace

std::uint64_t DurableIds::number_in(const SourceHandle& handle, const Layout& layout) {
  const bool is_long = layout.number_bytes == sizeof(std::uint64_t);
  return is_long ? part_of<std::uint64_t>(handle.bytes(), layout.number_at)
                 : part_of<std::uint32_t>(handle.bytes(), layout.number_at);
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
  const auto generation = part_of<std::uint32_t>(handle.bytes(), layout_->generation_at);
  return NodeId{generation} << 32 | kMark | inode_number;
}

SourceHandle DurableIds::handle_of(NodeId durable) const {
  std::vector<std::byte> bytes(layout_->bytes);
  const std::uint64_t number = inode_number(durable);
  if (layout_->number_bytes == sizeof number) {
    put_part(bytes, layout_->number_at, number);
  } else {
    put_part(bytes, layout_->number_at, static_cast<std::uint32_t>(number));
  }
  put_part(bytes, layout_->generation_at, static_cast<std::uint32_t>(durable >> 32));
  return {type_, std::move(bytes)};
}

}  // namespace ouro::passthrough
