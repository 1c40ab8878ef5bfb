#include "tests/unit/fs/served_tree.hpp"

#include <liburing.h>

#include <array>
#include <numeric>

namespace ouro::fs {
namespace {

// What only metadata puts on a ring here; not READ, WRITE and FSYNC, which data do as well.
constexpr std::array kMetadataOpcodes{IORING_OP_OPENAT2,   IORING_OP_STATX,     IORING_OP_MKDIRAT,
                                      IORING_OP_UNLINKAT,  IORING_OP_RENAMEAT,  IORING_OP_LINKAT,
                                      IORING_OP_SYMLINKAT, IORING_OP_FALLOCATE, IORING_OP_SETXATTR,
                                      IORING_OP_GETXATTR};

std::uint64_t metadata_completions(const loop::LoopCounters& counters) {
  return std::accumulate(
      kMetadataOpcodes.begin(), kMetadataOpcodes.end(), std::uint64_t{0},
      [&](std::uint64_t sum, auto opcode) { return sum + counters.cqes_by_opcode[opcode]; });
}

}  // namespace

// --- ServingThread -------------------------------------------------------------------------------

ServingThread::ServingThread(int channel, const Shared& shared)
    : thread_([this, channel, shared] { run(channel, shared); }) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return loop_ != nullptr; });
}

void ServingThread::run(int channel, const Shared& shared) {
  auto loop = ServingLoop::create(0, channel, shared).value();
  {
    const std::lock_guard lock(mutex_);
    loop_ = loop.get();
  }
  changed_.notify_all();
  loop->run();
  loop_counters_ = loop->context().counters();
  server_counters_ = loop->server().counters();
  std::unique_lock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
  // stop() may still want to drain a loop that has ended by itself.
  changed_.wait(lock, [this] { return stopping_; });
}

void ServingThread::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    loop_->drain();
  }
  changed_.notify_all();
  thread_.join();
}

void ServingThread::post_statistics() {
  const std::lock_guard lock(mutex_);
  loop_->post_statistics();
}

void ServingThread::wait_for_end() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
}

// --- ServedTree ----------------------------------------------------------------------------------

Connection ServedTree::default_connection() {
  Connection connection;
  connection.negotiated.kernel_minor = 45;
  connection.negotiated.flags = FUSE_SETXATTR_EXT | FUSE_HANDLE_KILLPRIV_V2;
  connection.negotiated.max_write_bytes = 128 * 1024;
  return connection;
}

FakeKernel& ServedTree::kernel() {
  if (!serving_) {
    const Shared shared{.tree = tree_,
                        .identity = backing_.identity,
                        .connection = connection_,
                        .relay = relay_,
                        .loops = 1,
                        .queue_depth = 0,  // requests come by the channel
                        .backing = GetParam().backing,
                        .metadata = GetParam().metadata,
                        .tracing = Tracing::kOff,
                        .log = log_.sink()};
    serving_ = std::make_unique<ServingThread>(kernel_.channel(), shared);
  }
  return kernel_;
}

std::uint64_t ServedTree::look_up(const std::string& name, std::uint64_t parent) {
  return call(requests::lookup(name, parent)).as<fuse_entry_out>().nodeid;
}

std::uint64_t ServedTree::open(const std::string& name, int flags) {
  return call(requests::open(look_up(name), flags)).as<fuse_open_out>().fh;
}

std::uint64_t ServedTree::open_directory(std::uint64_t node) {
  return call(requests::opendir(node)).as<fuse_open_out>().fh;
}

std::vector<std::uint64_t> ServedTree::dropped_attributes() {
  std::vector<std::uint64_t> nodes;
  for (const Answer& told : kernel().notifications()) {
    const auto out = told.as<fuse_notify_inval_inode_out>();
    EXPECT_EQ(told.header.error, FUSE_NOTIFY_INVAL_INODE);
    EXPECT_LT(out.off, 0) << "no pages";
    nodes.push_back(out.ino);
  }
  return nodes;
}

void ServedTree::finish() {
  if (!serving_ || finished_) return;
  finished_ = true;
  catch_up();  // whatever was sent to it, it goes on serving
  serving_->stop();
  kernel_.collect();
  for (const Answer& answer : kernel_.waiting()) {
    ADD_FAILURE() << "nobody asked for an answer to " << answer.header.unique;
  }
  expect_mode(serving_->loop_counters());
}

void ServedTree::hang_up() {
  kernel().hang_up();
  serving_->wait_for_end();
  finished_ = true;
}

// What can block was left to workers.
void expect_in_pool(const ServerCounters& counters) {
  std::uint64_t can_block = 0;
  for (std::uint32_t opcode = 0; opcode < counters.requests_by_opcode.size(); ++opcode) {
    const OpcodeRow* const row = find_opcode(opcode);
    const bool counts =
        row != nullptr && (row->route == Route::kWaits || row->route == Route::kCalls);
    if (counts) can_block += counters.requests_by_opcode[opcode];
  }
  EXPECT_TRUE(can_block == 0 || counters.pooled > 0) << "metadata went by calls in the loop";
}

void ServedTree::expect_mode(const loop::LoopCounters& loop) const {
  if (GetParam().backing == Backing::kRing) {
    EXPECT_EQ(loop.inline_completions, 0U) << "data went by system calls";
  } else {
    EXPECT_EQ(loop.cqes_by_opcode[IORING_OP_READ], 0U) << "data went by the ring";
  }
  if (GetParam().metadata == Metadata::kNested) {
    EXPECT_GT(metadata_completions(loop), 0U) << "metadata went by system calls";
  } else {
    EXPECT_EQ(metadata_completions(loop), 0U) << "metadata went by the ring";
  }
  if (GetParam().metadata == Metadata::kAuto) {
    expect_in_pool(serving_->server_counters());
  }
}

// --- what is expected ----------------------------------------------------------------------------

fuse_attr attributes_of(const std::string& path) {
  struct ::stat stat {};
  if (::lstat(path.c_str(), &stat) != 0) throw std::runtime_error("cannot stat " + path);
  fuse_attr out{};
  out.ino = stat.st_ino;
  out.size = static_cast<std::uint64_t>(stat.st_size);
  out.blocks = static_cast<std::uint64_t>(stat.st_blocks);
  out.atime = static_cast<std::uint64_t>(stat.st_atim.tv_sec);
  out.mtime = static_cast<std::uint64_t>(stat.st_mtim.tv_sec);
  out.ctime = static_cast<std::uint64_t>(stat.st_ctim.tv_sec);
  out.atimensec = static_cast<std::uint32_t>(stat.st_atim.tv_nsec);
  out.mtimensec = static_cast<std::uint32_t>(stat.st_mtim.tv_nsec);
  out.ctimensec = static_cast<std::uint32_t>(stat.st_ctim.tv_nsec);
  out.mode = stat.st_mode;
  out.nlink = static_cast<std::uint32_t>(stat.st_nlink);
  out.uid = stat.st_uid;
  out.gid = stat.st_gid;
  // The kernel's encoding of small numbers, which is all that these tests make.
  out.rdev = static_cast<std::uint32_t>(stat.st_rdev);
  out.blksize = static_cast<std::uint32_t>(stat.st_blksize);
  return out;
}

fuse_entry_out entry_of(const std::string& path, std::uint64_t node) {
  fuse_entry_out out{};
  out.nodeid = node;
  out.entry_valid = 1;
  out.attr_valid = 1;
  out.attr = attributes_of(path);
  return out;
}

std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  std::string name = info.param.backing == Backing::kRing ? "RingData" : "InlineData";
  switch (info.param.metadata) {
    case Metadata::kInline:
      return name + "InlineMetadata";
    case Metadata::kNested:
      return name + "NestedMetadata";
    case Metadata::kAuto:
      break;
  }
  return name + "AutoMetadata";
}

}  // namespace ouro::fs
