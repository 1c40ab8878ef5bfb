#include "fs/directory_packer.hpp"

#include <dirent.h>

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::fs {
namespace {

TEST(DirectoryPacker, PacksADirentAsTheWireHasIt) {
  std::vector<std::byte> space(64, std::byte{0xff});
  DirectoryPacker packer(space);
  packer.add({}, 77, 3, DT_DIR, "abc");
  EXPECT_EQ(packer.used(), 32U) << "24 bytes of header, 3 of name, padded to 8";
  fuse_dirent header{};
  std::memcpy(&header, space.data(), FUSE_NAME_OFFSET);
  EXPECT_EQ(header.ino, 77U);
  EXPECT_EQ(header.off, 3U);
  EXPECT_EQ(header.namelen, 3U);
  EXPECT_EQ(header.type, static_cast<std::uint32_t>(DT_DIR));
  EXPECT_EQ(std::memcmp(space.data() + 24, "abc\0\0\0\0\0", 8), 0) << "the padding is zero";
  EXPECT_EQ(space[32], std::byte{0xff}) << "nothing behind the entry is touched";
}

TEST(DirectoryPacker, ANameOfAWholeUnitNeedsNoPadding) {
  std::vector<std::byte> space(64);
  DirectoryPacker packer(space);
  packer.add({}, 1, 1, DT_REG, "12345678");
  EXPECT_EQ(packer.used(), 32U);
  packer.add({}, 2, 2, DT_REG, "");
  EXPECT_EQ(packer.used(), 56U);
}

TEST(DirectoryPacker, PutsThePrefixInFront) {
  std::vector<std::byte> space(512, std::byte{0xff});
  DirectoryPacker packer(space);
  fuse_entry_out entry{};
  entry.nodeid = 4711;
  packer.add(std::as_bytes(std::span(&entry, 1)), 9, 10, DT_LNK, "name");
  EXPECT_EQ(packer.used(), 128U + 24 + 8);
  fuse_direntplus packed{};
  std::memcpy(&packed, space.data(), FUSE_NAME_OFFSET_DIRENTPLUS);
  EXPECT_EQ(packed.entry_out.nodeid, 4711U);
  EXPECT_EQ(packed.dirent.ino, 9U);
  EXPECT_EQ(packed.dirent.off, 10U);
  EXPECT_EQ(packed.dirent.namelen, 4U);
  EXPECT_EQ(FUSE_DIRENTPLUS_SIZE(&packed), packer.used());
}

TEST(DirectoryPacker, FitsExactly) {
  const std::string longest(255, 'x');
  for (const std::size_t prefix : {std::size_t{0}, sizeof(fuse_entry_out)}) {
    const std::size_t needed = prefix + 280;
    std::vector<std::byte> space(needed);
    EXPECT_TRUE(DirectoryPacker(space).fits(prefix, longest.size()));
    EXPECT_FALSE(DirectoryPacker(std::span(space).first(needed - 1)).fits(prefix, longest.size()));
  }
  EXPECT_FALSE(DirectoryPacker({}).fits(0, 0));
}

TEST(DirectoryPacker, CountsWhatIsUsed) {
  std::vector<std::byte> space(100);
  DirectoryPacker packer(space);
  int packed = 0;
  while (packer.fits(0, 1)) {
    packer.add({}, 1, 1, DT_REG, "x");
    ++packed;
  }
  EXPECT_EQ(packed, 3);
  EXPECT_EQ(packer.used(), 96U);
}

}  // namespace
}  // namespace ouro::fs
