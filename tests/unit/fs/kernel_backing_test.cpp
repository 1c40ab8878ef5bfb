// What openings are answered where the kernel is given the files, and what is said of attributes
// then.
#include "fs/kernel_backing.hpp"

#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "tests/unit/fs/served_tree.hpp"
#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

class ScriptedFiles final : public passthrough::GivenFiles {
 public:
  loop::Result<int> give(int fd, const passthrough::LastingCredentials* /*identity*/) override {
    if (refuses != 0) return loop::fail(refuses);
    struct ::stat stat {};
    EXPECT_EQ(::fstat(fd, &stat), 0);
    EXPECT_TRUE(S_ISREG(stat.st_mode));
    const std::lock_guard lock(mutex_);
    numbers_.insert(++last_);
    return last_;
  }
  void take_back(int number) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(numbers_.erase(number), 1U);
  }
  [[nodiscard]] std::set<int> numbers() const {
    const std::lock_guard lock(mutex_);
    return numbers_;
  }

  std::atomic<int> refuses = 0;

 private:
  mutable std::mutex mutex_;
  int last_ = 40;
  std::set<int> numbers_;
};

struct CreateOut {
  fuse_entry_out entry;
  fuse_open_out open;
};

std::int32_t number_of(const fuse_open_out& out) {
  std::int32_t number = 0;
  std::memcpy(&number, reinterpret_cast<const std::byte*>(&out) + 12, sizeof number);
  return number;
}

constexpr std::uint32_t kPassthroughFlag = 1U << 7;  // FOPEN_PASSTHROUGH

class KernelBackingTest : public ServedTree {
 protected:
  KernelBackingTest() {
    connection_.kernel_backing = &kernel_backing_;
    connection_.cache.file_open_flags = FOPEN_KEEP_CACHE;
  }
  [[nodiscard]] fuse_open_out open_node(std::uint64_t node, int flags) {
    return call(requests::open(node, flags)).as<fuse_open_out>();
  }
  [[nodiscard]] std::uint32_t flags_of(const fuse_open_out& out) const {
    return out.open_flags & ~std::uint32_t{FOPEN_NOFLUSH};
  }
  void release(const fuse_open_out& out) { EXPECT_EQ(error_of(requests::release(out.fh)), 0); }

  std::shared_ptr<ScriptedFiles> files_ = std::make_shared<ScriptedFiles>();
  KernelBacking kernel_backing_{files_, log_.sink()};
};

TEST_P(KernelBackingTest, OpeningsOfAFileAreAnsweredWithOneNumber) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  const auto reader = open_node(node, O_RDONLY);
  EXPECT_EQ(flags_of(reader), kPassthroughFlag) << "the kernel refuses FOPEN_KEEP_CACHE beside it";
  EXPECT_EQ(number_of(reader), 41);
  const auto writer = open_node(node, O_WRONLY);
  EXPECT_EQ(flags_of(writer), kPassthroughFlag);
  EXPECT_EQ(number_of(writer), 41);
  release(reader);
  EXPECT_EQ(files_->numbers(), std::set{41});
  release(writer);
  finish();
  EXPECT_TRUE(files_->numbers().empty());
  EXPECT_EQ(kernel_backing_.counters().opens, 2U);
}

TEST_P(KernelBackingTest, CreationsAreAnsweredLikeOpenings) {
  const auto created = call(requests::create("file", O_WRONLY, 0600)).as<CreateOut>();
  EXPECT_EQ(flags_of(created.open), kPassthroughFlag);
  EXPECT_EQ(number_of(created.open), 41);
  EXPECT_EQ(created.entry.attr_valid, 1U);
  const auto again = open_node(created.entry.nodeid, O_RDONLY);
  EXPECT_EQ(number_of(again), 41);
  fuse_create_in in{};
  in.flags = O_RDWR;
  in.mode = S_IFREG | 0600;
  const Answer unnamed = call(Message(FUSE_TMPFILE).with(in).name(""));
  if (unnamed.error() == EOPNOTSUPP) GTEST_SKIP() << "no O_TMPFILE in " << path("");
  EXPECT_EQ(number_of(unnamed.as<CreateOut>().open), 42);
}

TEST_P(KernelBackingTest, WhatFcntlCouldTakeAwayGoesByRequests) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  constexpr std::uint32_t kMixed =
      kPassthroughFlag | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  EXPECT_EQ(flags_of(open_node(node, O_WRONLY | O_APPEND)), kMixed);
  EXPECT_EQ(flags_of(open_node(node, O_RDONLY | O_APPEND)), kPassthroughFlag);
  const Answer direct = call(requests::open(node, O_RDWR | O_DIRECT));
  if (direct.error() == EINVAL) GTEST_SKIP() << "no direct I/O in " << path("");
  EXPECT_EQ(flags_of(direct.as<fuse_open_out>()), kMixed);
  EXPECT_EQ(flags_of(open_node(node, O_RDONLY | O_DIRECT)), kPassthroughFlag);
  EXPECT_EQ(kernel_backing_.counters().mixed_opens, 2U);
}

TEST_P(KernelBackingTest, WhoWritesAsSomebodyElseGoesByRequests) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  EXPECT_EQ(flags_of(open_node(node, O_WRONLY)), kPassthroughFlag);
  EXPECT_EQ(flags_of(call(requests::open(node, O_WRONLY).from(1001, 1001)).as<fuse_open_out>()) &
                FOPEN_DIRECT_IO,
            unsigned{FOPEN_DIRECT_IO});
}

TEST_P(KernelBackingTest, ARefusalIsToldOnceAndTheFileGoesByRequests) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  files_->refuses = ELOOP;
  const auto first = open_node(node, O_RDWR);
  EXPECT_EQ(flags_of(first), std::uint32_t{FOPEN_KEEP_CACHE});
  EXPECT_EQ(number_of(first), 0);
  EXPECT_EQ(log_.containing("backing=kernel is refused for a file").size(), 1U);
  EXPECT_TRUE(log_.has("stacked too deep (ELOOP)"));
  files_->refuses = 0;
  const auto second = open_node(node, O_RDONLY);
  EXPECT_EQ(flags_of(second), std::uint32_t{FOPEN_KEEP_CACHE}) << "beside the first no other way";
  EXPECT_EQ(call(requests::write(first.fh, 0, "text")).as<fuse_write_out>().size, 4U);
  release(first);
  release(second);
  EXPECT_EQ(kernel_backing_.counters().other_opens, 2U);
  // They may be closed a little later; the watchdog ends what never comes.
  const auto open_and_release = [&] {
    const auto later = open_node(node, O_RDONLY);
    release(later);
    return flags_of(later);
  };
  while (open_and_release() != kPassthroughFlag) continue;
  files_->refuses = ENOMEM;
  while (open_and_release() == kPassthroughFlag) continue;
  EXPECT_EQ(log_.containing("backing=kernel is refused for a file").size(), 1U);
}

// Stores by mappings tell nobody, so nothing may be kept of a file that may be mapped for them.
TEST_P(KernelBackingTest, AttributesOfWhatIsMappedAreNotKept) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  const auto valid = [&] { return call(requests::getattr(node)).as<fuse_attr_out>().attr_valid; };
  EXPECT_EQ(valid(), 1U);
  release(open_node(node, O_WRONLY));
  EXPECT_EQ(valid(), 1U) << "which cannot be mapped";
  EXPECT_EQ(dropped_attributes(), std::vector<std::uint64_t>{});
  const auto mapped = open_node(node, O_RDWR);
  EXPECT_EQ(dropped_attributes(), std::vector{node}) << "what the client had of it";
  EXPECT_EQ(valid(), 0U);
  EXPECT_EQ(call(requests::lookup("file")).as<fuse_entry_out>().attr_valid, 0U);
  release(mapped);
  EXPECT_EQ(valid(), 0U) << "the mapping may be there still";
  release(open_node(node, O_RDWR));
  EXPECT_EQ(dropped_attributes().size(), 1U);
  const auto created = call(requests::create("new", O_RDWR, 0600)).as<CreateOut>();
  EXPECT_EQ(created.entry.attr_valid, 0U);
  EXPECT_EQ(created.entry.entry_valid, 1U) << "its name is another matter";
}

TEST_P(KernelBackingTest, AChangeOfNothingIsFollowedByAnUnseenChangeOfTheMode) {
  backing_.put_file("file");
  const std::uint64_t node = look_up("file");
  const auto nothing = call(requests::setattr(node, {})).as<fuse_attr_out>();
  EXPECT_EQ(nothing.attr_valid, 0U);
  fuse_setattr_in in{};
  in.valid = FATTR_MODE;
  in.mode = 0644;
  EXPECT_EQ(call(requests::setattr(node, in)).as<fuse_attr_out>().attr_valid, 1U);
}

OURO_IN_ALL_MODES(KernelBackingTest);

class LostKernelOpening : public ServerRigTest {};

TEST_F(LostKernelOpening, IsTakenBack) {
  backing_.put_file("file");
  const auto files = std::make_shared<ScriptedFiles>();
  LogCapture log;
  KernelBacking kernel_backing(files, log.sink());
  ServerRig::Options options;
  options.connection.kernel_backing = &kernel_backing;
  ServerRig& rig = start(options);
  const std::uint64_t node = rig.look_up("file");
  rig.kernel.lose_replies();
  std::uint64_t lost = 0;
  for (const Message& opening :
       {requests::open(node, O_RDWR), requests::create("new", O_RDWR, 0600)}) {
    rig.send(opening);
    rig.until([&] { return rig.counters().replies_lost == lost + 1; });
    ++lost;
    rig.until([&] { return files->numbers().empty(); });  // closed by a worker
  }
  EXPECT_EQ(kernel_backing.counters().opens, 2U) << "both had been given";
}

// --- who may have it -----------------------------------------------------------------------------

TEST(KernelBackingIsAskedFor, ByRootWithoutWriteBack) {
  const auto identity = passthrough::ProcessIdentity::take().value();
  if (!identity.switches()) GTEST_SKIP() << "needs root";
  EXPECT_EQ(reason_not_to_ask(0, identity), "");
  EXPECT_NE(reason_not_to_ask(FUSE_WRITEBACK_CACHE, identity).find("writeback"), std::string::npos);
  EXPECT_NE(reason_not_to_ask(0, passthrough::ProcessIdentity()).find("CAP_SYS_ADMIN"),
            std::string::npos);
}

TEST(ChannelFiles, AreRefusedByWhatIsNoChannel) {
  const auto identity = passthrough::ProcessIdentity::take().value();
  const loop::UniqueFd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ChannelFiles files(file.get(), identity);
  const auto number = files.give(file.get(), nullptr);
  ASSERT_FALSE(number);
  EXPECT_EQ(number.error().value(), ENOTTY);
  files.take_back(1);  // no harm
}

}  // namespace
}  // namespace ouro::fs
