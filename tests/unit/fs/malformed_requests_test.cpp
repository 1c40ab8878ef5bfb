// Bytes that no kernel sends, against every row of the opcode table: each is answered with an
// error, or not at all where nothing may be answered, and the session goes on (ServedTree asserts
// that at the end of each test).
#include <fcntl.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "fs/opcode_table.hpp"
#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

std::vector<const OpcodeRow*> all_rows() {
  std::vector<const OpcodeRow*> rows;
  for (std::uint32_t opcode = 0; opcode < 64; ++opcode) {
    if (const OpcodeRow* row = find_opcode(opcode)) rows.push_back(row);
  }
  return rows;
}

bool is_answered(const OpcodeRow& row) {
  return row.route != Route::kControl || row.opcode == FUSE_DESTROY;
}

class MalformedRequests : public ServedTree {
 protected:
  void SetUp() override {
    backing_.put_file("file", "content");
    node_ = look_up("file");
    file_ = call(requests::open(node_, O_RDWR)).as<fuse_open_out>().fh;
  }
  // Sends it, and takes the answer if there has to be one.
  [[nodiscard]] int outcome(const OpcodeRow& row, const Message& message) {
    const std::uint64_t unique = kernel().send(message);
    return is_answered(row) ? kernel().wait(unique).error() : 0;
  }

  std::uint64_t node_ = 0;
  std::uint64_t file_ = 0;
};

TEST_P(MalformedRequests, ArgumentsThatAreCutOff) {
  for (const OpcodeRow* row : all_rows()) {
    for (std::size_t bytes = 0; bytes < row->min_argument_bytes; ++bytes) {
      const int error = outcome(*row, Message(row->opcode, node_).zeros(bytes));
      EXPECT_EQ(error, is_answered(*row) ? EINVAL : 0) << row->name << " of " << bytes;
    }
  }
  EXPECT_EQ(tree_.inode_count(), 2U);
  EXPECT_EQ(tree_.open_count(), 1U);
}

TEST_P(MalformedRequests, NamesWithoutAnEnd) {
  const std::string letters(300, 'n');
  for (const std::uint32_t opcode :
       {FUSE_LOOKUP, FUSE_UNLINK, FUSE_RMDIR, FUSE_REMOVEXATTR, FUSE_SYMLINK}) {
    EXPECT_EQ(error_of(Message(opcode).text(letters)), EINVAL) << opcode;
  }
  for (const std::uint32_t opcode : {FUSE_MKNOD, FUSE_MKDIR, FUSE_RENAME, FUSE_RENAME2, FUSE_LINK,
                                     FUSE_CREATE, FUSE_GETXATTR, FUSE_SETXATTR}) {
    // Whatever the length of the struct in front.
    for (std::size_t bytes = 60; bytes < 80; ++bytes) {
      EXPECT_EQ(error_of(Message(opcode).text(letters.substr(0, bytes))), EINVAL) << opcode;
    }
  }
  EXPECT_TRUE(backing_.content("file") == "content");
}

TEST_P(MalformedRequests, TheSecondNameIsMissing) {
  EXPECT_EQ(error_of(Message(FUSE_SYMLINK).name("only-one")), EINVAL);
  EXPECT_EQ(error_of(Message(FUSE_RENAME).with(fuse_rename_in{1}).name("file")), EINVAL);
  EXPECT_EQ(error_of(Message(FUSE_RENAME2).with(fuse_rename2_in{1, 0, 0}).name("file")), EINVAL);
  EXPECT_EQ(backing_.content("file"), "content");
}

TEST_P(MalformedRequests, BytesThatAreTooMany) {
  for (const OpcodeRow* row : all_rows()) {
    if (row->opcode == FUSE_DESTROY) continue;
    // Zeros are no name, no handle, and no node: an error, but for what needs none of them.
    (void)outcome(*row, Message(row->opcode, 999).zeros(row->min_argument_bytes + 4000));
  }
  EXPECT_EQ(tree_.inode_count(), 2U);
  EXPECT_EQ(tree_.open_count(), 1U);
}

TEST_P(MalformedRequests, LengthsOfTheMessageThatAreWrong) {
  for (const OpcodeRow* row : all_rows()) {
    const auto message = [&] { return Message(row->opcode, node_).zeros(64); };
    // The header alone can be trusted, so the answer goes by it, whatever the opcode.
    EXPECT_EQ(error_of(message().claim_bytes(40)), EIO) << row->name;
    EXPECT_EQ(error_of(message().claim_bytes(0xffffffff)), EIO) << row->name;
    EXPECT_EQ(error_of(message().claim_extension_units(0xffff)), EIO) << row->name;
  }
  kernel().send_bytes(std::vector<std::byte>(1));
  kernel().send_bytes(std::vector<std::byte>(39));
}

TEST_P(MalformedRequests, ExtensionsThatAreNone) {
  // All that follows the header is said to be extensions.
  for (const OpcodeRow* row : all_rows()) {
    if (!is_answered(*row) || row->min_argument_bytes == 0) continue;
    EXPECT_EQ(error_of(Message(row->opcode, node_).zeros(64).claim_extension_units(8)), EINVAL)
        << row->name;
  }
}

TEST_P(MalformedRequests, HandlesThatAreNone) {
  for (const std::uint64_t handle : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0},
                                     file_ + 1, file_ + (std::uint64_t{1} << 32)}) {
    EXPECT_EQ(error_of(requests::read(handle, 0, 16)), EBADF);
    EXPECT_EQ(error_of(requests::write(handle, 0, "x")), EBADF);
    EXPECT_EQ(error_of(requests::fsync(handle)), EBADF);
    EXPECT_EQ(error_of(requests::readdir(handle, 0, 4096)), EBADF);
    EXPECT_EQ(error_of(requests::release(handle)), 0);
    EXPECT_EQ(error_of(requests::release(handle, FUSE_RELEASEDIR)), 0);
  }
  EXPECT_EQ(tree_.open_count(), 1U);
}

// Random arguments for every opcode; the seed is fixed, so that a failure comes again.
TEST_P(MalformedRequests, Noise) {
  std::mt19937 random(20240229);
  const auto noise = [&](std::size_t bytes) {
    std::vector<std::byte> raw(bytes);
    // Small values and zeros often, as they are what passes the first checks.
    std::generate(raw.begin(), raw.end(), [&] {
      return random() % 2 == 0 ? std::byte{0} : static_cast<std::byte>(random() % 256);
    });
    return raw;
  };
  for (int round = 0; round < 40; ++round) {
    for (const OpcodeRow* row : all_rows()) {
      const std::size_t bytes = row->min_argument_bytes + random() % 200;
      const std::uint64_t node = random() % 4 == 0 ? random() : 1 + random() % 3;
      (void)outcome(*row, Message(row->opcode, node).bytes(noise(bytes)).from(0, 0));
    }
  }
  // What it has opened and looked up by accident belongs to nobody.
  EXPECT_EQ(call(requests::getattr()).error(), 0);
}

OURO_IN_ALL_MODES(MalformedRequests);

}  // namespace
}  // namespace ouro::fs
