#include "fs/opcode_table.hpp"

#include <limits>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/protocol.hpp"

namespace ouro::fs {
namespace {

constexpr std::uint32_t kMoreThanAll = 5000;  // FUSE goes up to 53, CUSE_INIT is 4096

std::vector<const OpcodeRow*> all_rows() {
  std::vector<const OpcodeRow*> rows;
  for (std::uint32_t opcode = 0; opcode < kMoreThanAll; ++opcode) {
    if (const OpcodeRow* row = find_opcode(opcode)) rows.push_back(row);
  }
  return rows;
}

TEST(OpcodeTable, EveryRowIsFoundUnderItsOwnOpcode) {
  for (std::uint32_t opcode = 0; opcode < kMoreThanAll; ++opcode) {
    const OpcodeRow* row = find_opcode(opcode);
    if (row == nullptr) continue;
    EXPECT_EQ(row->opcode, opcode) << row->name;
  }
  EXPECT_EQ(all_rows().size(), 44U);
}

TEST(OpcodeTable, NamesAreUnique) {
  std::set<std::string> names;
  for (const OpcodeRow* row : all_rows()) {
    EXPECT_TRUE(names.insert(row->name).second) << row->name;
  }
}

TEST(OpcodeTable, EveryRouteHasWhatItRuns) {
  for (const OpcodeRow* row : all_rows()) {
    SCOPED_TRACE(row->name);
    const bool control = row->route == Route::kControl;
    const bool data = row->route == Route::kData;
    EXPECT_EQ(row->begin != nullptr, data);
    EXPECT_EQ(row->handle != nullptr, (!control && !data) || row->opcode == FUSE_WRITE);
    EXPECT_FALSE((control || data) && row->undo != nullptr);
  }
}

TEST(OpcodeTable, WhateverGrantsSomethingCanTakeItBack) {
  const std::set<std::uint32_t> granting{FUSE_LOOKUP,  FUSE_SYMLINK,    FUSE_MKNOD,   FUSE_MKDIR,
                                         FUSE_LINK,    FUSE_OPEN,       FUSE_OPENDIR, FUSE_CREATE,
                                         FUSE_TMPFILE, FUSE_READDIRPLUS};
  for (const OpcodeRow* row : all_rows()) {
    EXPECT_EQ(row->undo != nullptr, granting.count(row->opcode) == 1) << row->name;
  }
}

TEST(OpcodeTable, WhatOthersDependOnIsNeverHeldBack) {
  for (const std::uint32_t opcode : {FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT}) {
    EXPECT_EQ(find_opcode(opcode)->route, Route::kControl);
  }
  for (const std::uint32_t opcode : {FUSE_RELEASE, FUSE_RELEASEDIR}) {
    EXPECT_EQ(find_opcode(opcode)->route, Route::kAtOnce);
  }
}

TEST(OpcodeTable, WhatHasNoSqeFormIsMarked) {
  const std::set<std::uint32_t> calls{FUSE_SETATTR,     FUSE_READLINK,    FUSE_MKNOD, FUSE_STATFS,
                                      FUSE_LISTXATTR,   FUSE_REMOVEXATTR, FUSE_FLUSH, FUSE_READDIR,
                                      FUSE_READDIRPLUS, FUSE_ACCESS,      FUSE_IOCTL, FUSE_LSEEK,
                                      FUSE_GETLK,       FUSE_SETLK,       FUSE_SETLKW};
  for (const OpcodeRow* row : all_rows()) {
    EXPECT_EQ(row->route == Route::kCalls, calls.count(row->opcode) == 1) << row->name;
  }
}

TEST(OpcodeTable, DataOperationsNeverWait) {
  for (const std::uint32_t opcode : {FUSE_READ, FUSE_WRITE, FUSE_FSYNC}) {
    EXPECT_EQ(find_opcode(opcode)->route, Route::kData);
  }
}

TEST(OpcodeTable, WhatTheKernelDoesItselfIsNotServed) {
  for (const std::uint32_t opcode : {FUSE_BMAP, FUSE_POLL, FUSE_NOTIFY_REPLY, FUSE_SYNCFS,
                                     FUSE_SETUPMAPPING, FUSE_REMOVEMAPPING, FUSE_INIT}) {
    EXPECT_EQ(find_opcode(opcode), nullptr) << opcode;
  }
}

TEST(OpcodeTable, StrangeOpcodesAreNotFound) {
  const std::uint32_t swapped_init = FUSE_INIT_BSWAP_RESERVED;
  for (const std::uint32_t opcode : {0U, 7U, 19U, 54U, 63U, 64U, 65U, 4096U, swapped_init,
                                     std::numeric_limits<std::uint32_t>::max()}) {
    EXPECT_EQ(find_opcode(opcode), nullptr) << opcode;
  }
}

}  // namespace
}  // namespace ouro::fs
