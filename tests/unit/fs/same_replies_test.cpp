// The same requests, through each transport: what the kernel is answered must be the same, byte for
// byte, although the one lays requests and replies out otherwise than the other.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/ring_message.hpp"
#include "passthrough/inline_executor.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/idle_transport.hpp"
#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

// KERNEL(6.18): how much of a request is its first argument, which the ring keeps apart.
std::size_t first_argument_bytes(std::uint32_t opcode) {
  switch (opcode) {
    case FUSE_GETATTR:
      return sizeof(fuse_getattr_in);
    case FUSE_SETATTR:
      return sizeof(fuse_setattr_in);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
      return sizeof(fuse_open_in);
    case FUSE_CREATE:
      return sizeof(fuse_create_in);
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return sizeof(fuse_read_in);
    case FUSE_WRITE:
      return sizeof(fuse_write_in);
    case FUSE_FSYNC:
      return sizeof(fuse_fsync_in);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return sizeof(fuse_release_in);
    case FUSE_MKDIR:
      return sizeof(fuse_mkdir_in);
    case FUSE_MKNOD:
      return sizeof(fuse_mknod_in);
    case FUSE_LINK:
      return sizeof(fuse_link_in);
    case FUSE_RENAME2:
      return sizeof(fuse_rename2_in);
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      return sizeof(fuse_getxattr_in);
    case FUSE_SETXATTR:
      return sizeof(fuse_setxattr_in);
    case FUSE_LSEEK:
      return sizeof(fuse_lseek_in);
    default:  // names only, or nothing
      return 0;
  }
}

// The ring's layout, with the test in the place of the kernel's commands.
class RingByHand final : public IdleTransport {
 public:
  static constexpr std::size_t kPayloadBytes = 128 * 1024;

  Answer call(Server& server, loop::AioContext& context, const Message& message) {
    const std::vector<std::byte> bytes = message.encode();
    const auto arguments = std::span(bytes).subspan(sizeof(fuse_in_header));
    const std::size_t first = first_argument_bytes(message.header().opcode);
    std::memcpy(at_.header().in_out, bytes.data(), sizeof(fuse_in_header));
    std::memcpy(at_.header().op_in, arguments.data(), first);
    const auto rest = arguments.subspan(first);
    if (!rest.empty()) std::memcpy(at_.payload().data(), rest.data(), rest.size());
    at_.header().entry.payload_sz = static_cast<std::uint32_t>(rest.size());
    EXPECT_TRUE(entry_.take_in(at_.request().value()));
    replied_ = false;
    server.on_request(entry_);
    testing::poll_until(context, [this] { return replied_; });
    Answer answer;
    std::memcpy(&answer.header, at_.header().in_out, sizeof answer.header);
    const auto payload = at_.payload().first(at_.header().entry.payload_sz);
    answer.payload.assign(payload.begin(), payload.end());
    return answer;
  }

  void start(RequestSink& sink) override { sink_ = &sink; }
  void reply(Request& request) override {
    at_.put_reply(request.header().unique, request.error(), request.reply_payload().size());
    replied_ = true;
    sink_->on_finished(request);
  }
  void drop(Request& request) override { reply(request); }

 private:
  class Entry final : public Request {
   public:
    explicit Entry(std::span<std::byte> payload) : Request(payload) {}
    [[nodiscard]] bool take_in(std::span<const std::byte> message) { return receive(message); }
  };

  struct alignas(4096) Memory {
    std::array<std::byte, SlotMemory::kFrontBytes + kPayloadBytes> bytes{};
  };
  const std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
  RingMessage at_{memory_->bytes.data(),
                  std::span(memory_->bytes).subspan(SlotMemory::kFrontBytes)};
  Entry entry_{std::span(memory_->bytes).subspan(SlotMemory::kFrontBytes)};
  RequestSink* sink_ = nullptr;
  bool replied_ = false;
};

using Call = std::function<Answer(Message)>;

// The other side has changed files before.
Answer without_times(std::uint32_t opcode, Answer answer) {
  if (answer.error() != 0) return answer;
  std::size_t attributes = 0;
  if (opcode == FUSE_LOOKUP) {
    attributes = offsetof(fuse_entry_out, attr);
  } else if (opcode == FUSE_GETATTR) {
    attributes = offsetof(fuse_attr_out, attr);
  } else {
    return answer;
  }
  auto attr = answer.at<fuse_attr>(attributes);
  attr.mtime = attr.ctime = 0;
  attr.mtimensec = attr.ctimensec = 0;
  std::memcpy(answer.payload.data() + attributes, &attr, sizeof attr);
  return answer;
}

class SameReplies : public testing::LoopTest {
 protected:
  // Names longer than anything that precedes them in a request, so that a handler which writes its
  // reply before it has read them is found out.
  const std::string long_name_ = std::string(200, 'n');

  void SetUp() override {
    testing::LoopTest::SetUp();
    backing_.put_file("file", std::string(100'000, 'c'));
    backing_.put_file(long_name_, "long");
    std::filesystem::create_directory(backing_.directory / "directory");
    for (int i = 0; i < 50; ++i) backing_.put_file("directory/" + std::to_string(i));
    std::filesystem::create_symlink(long_name_, backing_.directory / "symlink");
    ASSERT_EQ(::setxattr((backing_.directory / "file").c_str(), "user.name", "value", 5, 0), 0);
    // No read moves an access time that is in the future.
    const std::array<timespec, 2> times = {{{4'000'000'000, 0}, {1, 0}}};
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(backing_.directory.path())) {
      ASSERT_EQ(::utimensat(AT_FDCWD, entry.path().c_str(), times.data(), AT_SYMLINK_NOFOLLOW), 0);
    }
    ASSERT_EQ(::utimensat(AT_FDCWD, backing_.directory.path().c_str(), times.data(), 0), 0);
    tree_ = new_tree();
  }

  [[nodiscard]] std::unique_ptr<passthrough::Tree> new_tree() const {
    return passthrough::Tree::create(loop::UniqueFd(::open(backing_.directory.path().c_str(),
                                                           O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                     {})
        .value();
  }

  // All answers of one side, each with the opcode it belongs to. What changes the source comes
  // last, and leaves it as it was but for times.
  std::vector<std::pair<std::uint32_t, Answer>> run(const Call& call) {
    std::vector<std::pair<std::uint32_t, Answer>> answers;
    std::uint64_t unique = 100;
    const auto ask = [&](Message message) {
      message.unique(unique += 2);
      const std::uint32_t opcode = message.header().opcode;
      const Answer answer = call(std::move(message));
      answers.emplace_back(opcode, without_times(opcode, answer));
      return answer;
    };
    const auto node_of = [&](const std::string& name) {
      return ask(requests::lookup(name)).as<fuse_entry_out>().nodeid;
    };
    ask(requests::getattr());
    ask(requests::lookup("absent"));
    ask(requests::lookup(std::string(300, 'x')));
    const std::uint64_t file = node_of("file");
    const std::uint64_t directory = node_of("directory");
    const std::uint64_t symlink = node_of("symlink");
    node_of(long_name_);
    ask(requests::getattr(file));
    ask(requests::getattr(12345));
    ask(Message(FUSE_READLINK, symlink));
    ask(Message(FUSE_GETXATTR, file).with(fuse_getxattr_in{0, 0}).name("user.name"));
    ask(Message(FUSE_GETXATTR, file).with(fuse_getxattr_in{100, 0}).name("user.name"));
    ask(Message(FUSE_GETXATTR, file).with(fuse_getxattr_in{100, 0}).name("user.absent"));
    ask(Message(FUSE_LISTXATTR, file).with(fuse_getxattr_in{1000, 0}));
    const auto handle = ask(requests::open(file, O_RDWR)).as<fuse_open_out>().fh;
    ask(requests::read(handle, 0, 100));
    ask(requests::read(handle, 4096, 65536));
    ask(requests::read(handle, 99'000, 65536));
    ask(requests::read(handle, 200'000, 4096));
    ask(requests::read(handle + 1000, 0, 100));
    ask(Message(FUSE_LSEEK, file).with(fuse_lseek_in{handle, 0, SEEK_HOLE, 0}));
    const auto stream = ask(requests::opendir(directory)).as<fuse_open_out>().fh;
    ask(requests::readdir(stream, 0, 4096));
    ask(requests::readdir(stream, 0, 2000));
    ask(requests::release(stream, FUSE_RELEASEDIR));
    ask(Message(9999));

    ask(requests::write(handle, 10, std::string(5'000, 'c')));
    ask(requests::write(handle + 1000, 10, "x"));
    ask(requests::fsync(handle));
    ask(requests::release(handle));
    ask(Message(FUSE_SETXATTR, file)
            .with(fuse_setxattr_in{5, 0, 0, 0})
            .name("user.name")
            .text("value"));
    ask(Message(FUSE_RENAME2)
            .with(fuse_rename2_in{FUSE_ROOT_ID, 0, 0})
            .name(long_name_)
            .name(long_name_ + "2"));
    ask(Message(FUSE_RENAME2)
            .with(fuse_rename2_in{FUSE_ROOT_ID, 0, 0})
            .name(long_name_ + "2")
            .name(long_name_));
    ask(requests::mkdir("directory", 0755));
    ask(Message(FUSE_UNLINK).name("absent"));
    ask(Message(FUSE_RMDIR).name("directory"));
    ask(Message(FUSE_SYMLINK).name("file").name("target"));
    return answers;
  }

  TemporaryTree backing_;
  std::unique_ptr<passthrough::Tree> tree_;
  TestRelay relay_;
};

TEST_F(SameReplies, OnTheRingAsByTheChannel) {
  std::vector<std::pair<std::uint32_t, Answer>> by_channel;
  {
    ServerRig::Options options;
    options.connection.negotiated.flags = FUSE_SETXATTR_EXT;
    ServerRig rig(*context_, backing_, relay_, options);
    by_channel = run([&](Message message) { return rig.call(std::move(message)); });
  }

  RingByHand transport;
  passthrough::RingExecutor ring(*context_, backing_.identity);
  passthrough::InlineExecutor metadata(backing_.identity);
  Connection connection;
  connection.negotiated.flags = FUSE_SETXATTR_EXT;
  LogCapture log;
  Server server(*context_, transport, *tree_, {metadata, ring, nullptr}, connection, relay_,
                log.sink());
  transport.start(server);
  const auto by_ring =
      run([&](const Message& message) { return transport.call(server, *context_, message); });

  ASSERT_EQ(by_ring.size(), by_channel.size());
  std::size_t successes = 0;
  for (std::size_t i = 0; i < by_ring.size(); ++i) {
    const auto& [opcode, answer] = by_ring[i];
    const Answer& other = by_channel[i].second;
    EXPECT_EQ(std::memcmp(&answer.header, &other.header, sizeof answer.header), 0)
        << i << ", opcode " << opcode << ": " << answer.error() << " and " << other.error();
    EXPECT_EQ(answer.payload, other.payload) << i << ", opcode " << opcode;
    if (answer.error() == 0) ++successes;
  }
  EXPECT_GT(successes, 25U);
}

}  // namespace
}  // namespace ouro::fs
