// What a reply grants is taken back when it does not arrive: lookups, open files and directories.
#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

class LostReply : public ServerRigTest {
 protected:
  // Has a request answered in vain.
  void lose(const Message& message) {
    rig_->kernel.lose_replies();
    const std::uint64_t before = rig_->counters().replies_lost;
    rig_->send(message);
    rig_->until([&] { return rig_->counters().replies_lost == before + 1; });
    rig_->settle();
  }
};

TEST_F(LostReply, OfALookupTakesTheLookupBack) {
  backing_.put_file("file");
  start();
  lose(requests::lookup("file"));
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
  lose(requests::lookup("missing"));
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
}

TEST_F(LostReply, TakesBackNoMoreThanItGranted) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t node = rig.look_up("file");
  lose(requests::lookup("file"));
  EXPECT_EQ(backing_.tree->inode_count(), 2U);
  rig.send(requests::forget(node));
  rig.until([&] { return backing_.tree->inode_count() == 1; });
}

TEST_F(LostReply, OfANegativeEntryTakesNothingBack) {
  ServerRig::Options options;
  options.connection.cache.negative_timeout_ns = 1'000'000'000;
  start(options);
  lose(requests::lookup("missing"));
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
}

TEST_F(LostReply, OfWhatMakesAnEntryKeepsTheEntryInTheSource) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t node = rig.look_up("file");
  lose(requests::mkdir("directory", 0755));
  lose(Message(FUSE_SYMLINK).name("symlink").name("target"));
  lose(Message(FUSE_MKNOD).with(fuse_mknod_in{S_IFIFO | 0600, 0, 0, 0}).name("fifo"));
  lose(Message(FUSE_LINK).with(fuse_link_in{node}).name("hardlink"));
  EXPECT_EQ(backing_.tree->inode_count(), 2U);
  for (const char* name : {"directory", "symlink", "fifo", "hardlink"}) {
    struct stat stat {};
    EXPECT_EQ(::lstat((backing_.directory / name).c_str(), &stat), 0) << name;
  }
}

TEST_F(LostReply, OfAnOpenClosesTheHandle) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t node = rig.look_up("file");
  lose(requests::open(node, O_RDONLY));
  lose(requests::opendir());
  EXPECT_EQ(backing_.tree->open_count(), 0U);
  EXPECT_EQ(backing_.tree->inode_count(), 2U);
}

TEST_F(LostReply, OfACreateClosesTheHandleAndTakesTheLookupBack) {
  start();
  lose(requests::create("file", O_RDWR, 0600));
  lose(Message(FUSE_TMPFILE)
           .with([] {
             fuse_create_in in{};
             in.flags = O_RDWR;
             in.mode = S_IFREG | 0600;
             return in;
           }())
           .name(""));
  EXPECT_EQ(rig_->counters().replies_lost, 2U);
  EXPECT_EQ(backing_.tree->open_count(), 0U);
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
}

TEST_F(LostReply, OfAReaddirplusTakesEveryLookupBack) {
  for (int i = 0; i < 20; ++i) backing_.put_file(std::string(static_cast<std::size_t>(i) + 1, 'n'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.call(requests::opendir()).as<fuse_open_out>().fh;
  const std::uint64_t node = rig.look_up("nnn");
  lose(requests::readdir(handle, 0, 65536, FUSE_READDIRPLUS));
  EXPECT_EQ(backing_.tree->inode_count(), 2U) << "the one that was looked up before";
  rig.send(requests::forget(node));
  rig.until([&] { return backing_.tree->inode_count() == 1; });
}

TEST_F(LostReply, OfAnErrorTakesNothingBack) {
  backing_.put_file("file");
  start();
  lose(requests::open(12345, O_RDONLY));
  lose(requests::create("missing/file", O_RDWR, 0600));
  EXPECT_EQ(backing_.tree->open_count(), 0U);
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
}

}  // namespace
}  // namespace ouro::fs
