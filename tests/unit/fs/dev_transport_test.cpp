#include "fs/dev_transport.hpp"

#include <fcntl.h>

#include <algorithm>
#include <string>

#include "tests/support/loop_test.hpp"
#include "tests/unit/fs/fake_kernel.hpp"
#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/recording_sink.hpp"

namespace ouro::fs {
namespace {

constexpr std::size_t kPageBytes = 4096;

class DevTransportTest : public testing::LoopTest {
 protected:
  DevTransport& start(std::size_t slots = 4, unsigned read_budget = 32) {
    DevTransport::Options options;
    options.slots = slots;
    options.payload_bytes = 128 * 1024;
    options.read_budget = read_budget;
    transport_ = DevTransport::create(*context_, kernel_.channel(), options, log_.sink()).value();
    transport_->start(sink_);
    return *transport_;
  }
  // Runs the loop until there is nothing to do at once.
  void settle() {
    while (poll_now()) {
    }
  }
  void TearDown() override {
    while (!sink_.held.empty()) transport_->drop(sink_.take());
    if (transport_) transport_->stop();
  }

  // Sends a request and gives it to the test as the sink got it.
  Request& receive(const Message& message) {
    const std::size_t before = sink_.received;
    kernel_.send(message);
    poll_until([&] { return sink_.received > before; });
    return sink_.take();
  }
  void finish(Request& request) {
    const std::size_t before = sink_.finished.size();
    transport_->reply(request);
    poll_until([&] { return sink_.finished.size() > before; });
  }
  [[nodiscard]] std::uint64_t written() const {
    return context_->counters().cqes_by_opcode[IORING_OP_WRITE];
  }

  FakeKernel kernel_;
  RecordingSink sink_;
  LogCapture log_;
  std::unique_ptr<DevTransport> transport_;
};

TEST_F(DevTransportTest, HandsOverARequestAsItCame) {
  start();
  Request& request =
      receive(Message(FUSE_LOOKUP, 77).name("file").from(1000, 1001, 1234).unique(42));
  EXPECT_EQ(request.header().opcode, std::uint32_t{FUSE_LOOKUP});
  EXPECT_EQ(request.header().nodeid, 77U);
  EXPECT_EQ(request.header().unique, 42U);
  EXPECT_EQ(request.header().uid, 1000U);
  EXPECT_EQ(request.header().gid, 1001U);
  EXPECT_EQ(request.header().pid, 1234U);
  ASSERT_EQ(request.arguments().size(), 5U);
  EXPECT_STREQ(reinterpret_cast<const char*>(request.arguments().data()), "file");
  EXPECT_GE(request.payload().size(), 128U * 1024);
  request.fail(ENOENT);
  finish(request);
  const auto answer = kernel_.take(42);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), ENOENT);
}

TEST_F(DevTransportTest, DataOfAWriteIsPageAligned) {
  start();
  // Every slot, not only the first one.
  std::vector<Request*> held;
  for (int i = 0; i < 4; ++i) {
    fuse_write_in in{};
    in.size = 128 * 1024;
    const std::string data(in.size, static_cast<char>('a' + i));
    Request& request = receive(Message(FUSE_WRITE).with(in).text(data));
    const std::byte* at = request.arguments().data() + sizeof in;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % kPageBytes, 0U);
    EXPECT_EQ(at, request.payload().data());
    EXPECT_EQ(std::memcmp(at, data.data(), data.size()), 0);
    held.push_back(&request);
  }
  for (Request* request : held) transport_->drop(*request);
}

TEST_F(DevTransportTest, AReplyIsOneMessageFromWhereTheDataLies) {
  start();
  Request& request = receive(Message(FUSE_READ).with(fuse_read_in{}).unique(8));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(request.payload().data()) % kPageBytes, 0U);
  std::string data(100'000, 'x');
  data.front() = 'A';
  data.back() = 'Z';
  std::copy_n(std::as_bytes(std::span(data)).begin(), data.size(), request.payload().begin());
  const std::uint64_t before = written();
  request.succeed(data.size());
  finish(request);
  const auto answer = kernel_.take(8);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), 0);
  EXPECT_TRUE(answer->text() == data);
  EXPECT_EQ(written() - before, 1U) << "one SQE, header and data together";
}

TEST_F(DevTransportTest, AnErrorHasNoPayload) {
  start();
  Request& request = receive(Message(FUSE_READ).with(fuse_read_in{}).unique(8));
  request.succeed(100);
  request.fail(EIO);
  finish(request);
  const auto answer = kernel_.take(8);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), EIO);
  EXPECT_TRUE(answer->payload.empty());
}

TEST_F(DevTransportTest, ASlotIsUsedAnewWithoutTracesOfItsFormerRequest) {
  start(1);
  for (std::uint64_t unique = 2; unique <= 20; unique += 2) {
    const bool fails = unique % 4 == 0;
    Request& request = receive(Message(FUSE_READLINK).unique(unique).text(fails ? "" : "abc"));
    EXPECT_EQ(request.error(), 0);
    EXPECT_TRUE(request.reply_payload().empty());
    EXPECT_EQ(request.arguments().size(), fails ? 0U : 3U);
    fails ? request.fail(EPERM) : request.succeed(unique);
    finish(request);
    const auto answer = kernel_.take(unique);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error(), fails ? EPERM : 0);
    EXPECT_EQ(answer->payload.size(), fails ? 0 : unique);
  }
  EXPECT_EQ(transport_->free_slots(), 1U);
}

TEST_F(DevTransportTest, ADroppedRequestIsNotAnswered) {
  start();
  Request& request = receive(Message(FUSE_FORGET).with(fuse_forget_in{1}));
  EXPECT_EQ(transport_->free_slots(), 3U);
  transport_->drop(request);
  EXPECT_EQ(transport_->free_slots(), 4U);
  EXPECT_EQ(sink_.finished.size(), 1U);
  (void)poll_now();
  kernel_.collect();
  EXPECT_TRUE(kernel_.waiting().empty());
}

TEST_F(DevTransportTest, ErrorsAreSentWithoutASlot) {
  start();
  transport_->send_error(99, EAGAIN);
  const auto answer = kernel_.take(99);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), EAGAIN);
}

TEST_F(DevTransportTest, TakesNoMoreThanItsBudgetAtOnce) {
  start(16, 4);
  for (int i = 0; i < 10; ++i) kernel_.send(Message(FUSE_STATFS));
  std::vector<std::size_t> received;
  while (sink_.received < 10) {
    (void)poll();
    if (received.empty() || received.back() != sink_.received) received.push_back(sink_.received);
  }
  EXPECT_EQ(received, (std::vector<std::size_t>{4, 8, 10}));
}

TEST_F(DevTransportTest, WithoutSlotsItStopsReadingAndDoesNotSpin) {
  start(2);
  for (std::uint64_t unique = 2; unique <= 10; unique += 2) {
    kernel_.send(Message(FUSE_STATFS).unique(unique));
  }
  poll_until([&] { return sink_.received == 2; });
  settle();
  const std::uint64_t before = context_->counters().iterations;
  bool over = false;
  loop::Timer timer(*context_, [&] { over = true; });
  timer.arm_in(100'000'000);
  poll_until([&] { return over; });
  EXPECT_LE(context_->counters().iterations - before, 3U);
  EXPECT_EQ(sink_.received, 2U) << "the backlog stays in the kernel";

  std::vector<std::uint64_t> answered;
  while (answered.size() < 5) {
    poll_until([&] { return !sink_.held.empty(); });
    Request& request = sink_.take();
    answered.push_back(request.header().unique);
    request.succeed(0);
    finish(request);
  }
  EXPECT_EQ(answered, (std::vector<std::uint64_t>{2, 4, 6, 8, 10}));
  EXPECT_EQ(transport_->free_slots(), 2U);
}

TEST_F(DevTransportTest, RequestsEndInAnyOrder) {
  start(3);
  Request& first = receive(Message(FUSE_STATFS).unique(2));
  Request& second = receive(Message(FUSE_STATFS).unique(4));
  Request& third = receive(Message(FUSE_STATFS).unique(6));
  second.succeed(0);
  finish(second);
  third.succeed(0);
  finish(third);
  transport_->drop(first);
  EXPECT_EQ(sink_.finished, (std::vector<std::uint64_t>{4, 6, 2}));
  EXPECT_EQ(transport_->free_slots(), 3U);
}

TEST_F(DevTransportTest, ALostReplyIsReported) {
  start();
  Request& request = receive(Message(FUSE_OPEN).with(fuse_open_in{}).unique(4));
  kernel_.lose_replies();
  request.succeed(sizeof(fuse_open_out));
  finish(request);
  EXPECT_EQ(sink_.lost, (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(sink_.finished, (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(transport_->free_slots(), 4U);
  // Requests still come.
  Request& next = receive(Message(FUSE_STATFS));
  transport_->drop(next);
}

TEST_F(DevTransportTest, AReplyThatTheKernelRefusesIsReportedToTheOperator) {
  start();
  Request& request = receive(Message(FUSE_OPEN).with(fuse_open_in{}).unique(4));
  request.succeed(3);
  settle();  // the channel is watched again before its place is taken
  {
    // EINVAL is what the real channel says to a reply of the wrong size. No socket says it to a
    // write, but a file of /proc that expects a number does: it takes the channel's place.
    const loop::UniqueFd channel = kernel_.clone_channel();
    const loop::UniqueFd refusing(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(refusing);
    ASSERT_EQ(::dup3(refusing.get(), kernel_.channel(), O_CLOEXEC), kernel_.channel());
    finish(request);
    ASSERT_EQ(::dup3(channel.get(), kernel_.channel(), O_CLOEXEC), kernel_.channel());
  }
  EXPECT_EQ(sink_.lost, (std::vector<std::uint64_t>{4}));
  EXPECT_TRUE(log_.has("refused a reply to opcode 14"));
  transport_->drop(receive(Message(FUSE_STATFS)));
}

TEST_F(DevTransportTest, StopTakesNoMoreButAnswersWhatIsThere) {
  start();
  Request& request = receive(Message(FUSE_STATFS).unique(2));
  transport_->stop();
  kernel_.send(Message(FUSE_STATFS).unique(4));
  request.succeed(0);
  finish(request);
  settle();
  EXPECT_EQ(sink_.received, 1U);
  EXPECT_TRUE(kernel_.take(2));
  EXPECT_EQ(sink_.disconnects, 0);
}

TEST_F(DevTransportTest, StopWithinARequestEndsTheTurn) {
  start(8);
  sink_.when_received = [this](Request&) { transport_->stop(); };
  for (int i = 0; i < 5; ++i) kernel_.send(Message(FUSE_STATFS));
  poll_until([&] { return sink_.received > 0; });
  settle();
  EXPECT_EQ(sink_.received, 1U);
}

TEST_F(DevTransportTest, ANestedLoopGoesOnReading) {
  start(8);
  // The first request waits, within its delivery, until the others have come.
  sink_.when_received = [this](Request& request) {
    if (request.header().unique == 2) poll_until([&] { return sink_.received == 5; });
  };
  for (int i = 0; i < 5; ++i) kernel_.send(Message(FUSE_STATFS));
  poll_until([&] { return sink_.received == 5; });
  EXPECT_EQ(sink_.held.size(), 5U);
}

TEST_F(DevTransportTest, ANestedLoopMayRunOutOfSlots) {
  start(3);
  sink_.when_received = [this](Request& request) {
    if (request.header().unique != 2) return;
    poll_until([&] { return sink_.received == 3; });
    settle();
    transport_->drop(*sink_.held.back());
    sink_.held.pop_back();
    poll_until([&] { return sink_.received == 4; });
  };
  for (int i = 0; i < 5; ++i) kernel_.send(Message(FUSE_STATFS));
  poll_until([&] { return sink_.received == 4; });
  transport_->drop(sink_.take());
  poll_until([&] { return sink_.received == 5; });
  EXPECT_EQ(sink_.held.size(), 3U);
}

// --- clones --------------------------------------------------------------------------------------

TEST_F(DevTransportTest, AnotherCloneMayTakeTheRequest) {
  start(4);
  const auto other_context = loop::AioContext::create().value();
  const loop::UniqueFd clone = kernel_.clone_channel();
  DevTransport::Options options;
  options.slots = 4;
  options.payload_bytes = 128 * 1024;
  const auto other =
      DevTransport::create(*other_context, clone.get(), options, log_.sink()).value();
  RecordingSink other_sink;
  other->start(other_sink);
  for (int i = 0; i < 50; ++i) {
    // Both loops are armed, so both are told of the request, and one finds nothing.
    (void)poll_now();
    other_context->poll(loop::Blocking::kNo);
    const std::uint64_t unique = kernel_.send(Message(FUSE_STATFS));
    const bool other_first = i % 2 == 0;
    for (int turn = 0; turn < 4; ++turn) {
      if (other_first == (turn % 2 == 0)) {
        other_context->poll(loop::Blocking::kNo);
      } else {
        (void)poll_now();
      }
    }
    ASSERT_EQ(sink_.held.size() + other_sink.held.size(), 1U);
    ASSERT_EQ(other_sink.held.size(), other_first ? 1U : 0U);
    Request& request = other_first ? other_sink.take() : sink_.take();
    ASSERT_EQ(request.header().unique, unique);
    (other_first ? *other : *transport_).drop(request);
    ASSERT_EQ(transport_->free_slots(), 4U) << "the loser keeps its slot";
    ASSERT_EQ(other->free_slots(), 4U);
  }
  EXPECT_EQ(sink_.disconnects + other_sink.disconnects, 0);
  other->stop();
}

// --- what is no request --------------------------------------------------------------------------

TEST_F(DevTransportTest, MalformedMessagesAreAnsweredOrDropped) {
  start();
  kernel_.send_bytes(std::vector<std::byte>(10));
  kernel_.send_bytes(std::vector<std::byte>(39));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(100).claim_bytes(41));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(102).claim_bytes(43));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(104).claim_bytes(0));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(106).claim_bytes(0xffffffff));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(108).claim_extension_units(1));
  kernel_.send(Message(FUSE_LOOKUP).name("x").unique(110).claim_extension_units(0xffff));
  Request& good = receive(Message(FUSE_LOOKUP).name("good").unique(200));
  EXPECT_EQ(good.header().unique, 200U);
  EXPECT_EQ(sink_.received, 1U);
  for (std::uint64_t unique = 100; unique <= 110; unique += 2) {
    const auto answer = kernel_.take(unique);
    ASSERT_TRUE(answer) << unique;
    EXPECT_EQ(answer->error(), EIO);
  }
  EXPECT_TRUE(kernel_.waiting().empty());
  EXPECT_EQ(log_.containing("malformed message").size(), 8U);
  transport_->drop(good);
  EXPECT_EQ(transport_->free_slots(), 4U);
}

TEST_F(DevTransportTest, AMessageThatIsCutOffIsRefused) {
  start();
  // Longer than a slot; the real channel answers such a one itself.
  kernel_.send(Message(FUSE_WRITE).unique(2).zeros(160 * 1024));
  Request& good = receive(Message(FUSE_STATFS).unique(4));
  const auto answer = kernel_.take(2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), EIO);
  transport_->drop(good);
}

TEST_F(DevTransportTest, TheLongestMessageFits) {
  start();
  Request& request = receive(Message(FUSE_WRITE).with(fuse_write_in{}).zeros(128 * 1024));
  EXPECT_EQ(request.arguments().size(), sizeof(fuse_write_in) + 128 * 1024);
  transport_->drop(request);
}

// --- the end -------------------------------------------------------------------------------------

TEST_F(DevTransportTest, TheOtherEndHangsUp) {
  start();
  kernel_.hang_up();
  poll_until([&] { return sink_.disconnects > 0; });
  EXPECT_EQ(sink_.disconnected, Disconnect::kFailed);
  settle();
  EXPECT_EQ(sink_.disconnects, 1);
  EXPECT_EQ(transport_->free_slots(), 4U);
}

TEST_F(DevTransportTest, AReadErrorEndsTheConnectionWithAReason) {
  start();
  transport_->drop(receive(Message(FUSE_STATFS)));
  transport_->send_error(2, EIO);  // never collected: hanging up now is ECONNRESET
  kernel_.hang_up();
  poll_until([&] { return sink_.disconnects > 0; });
  EXPECT_EQ(sink_.disconnected, Disconnect::kFailed);
  EXPECT_TRUE(log_.has("cannot read the FUSE channel: errno 104"));
}

TEST_F(DevTransportTest, WhatIsHeldCanStillBeEndedAfterwards) {
  start();
  Request& answered = receive(Message(FUSE_OPEN).with(fuse_open_in{}).unique(2));
  Request& dropped = receive(Message(FUSE_FORGET).with(fuse_forget_in{}).unique(4));
  kernel_.hang_up();
  poll_until([&] { return sink_.disconnects > 0; });
  answered.succeed(16);
  finish(answered);
  transport_->drop(dropped);
  EXPECT_EQ(sink_.lost, (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(transport_->free_slots(), 4U);
}

TEST_F(DevTransportTest, NoMemoryForTheSlots) {
  DevTransport::Options options;
  options.slots = std::size_t{1} << 34;
  const auto created = DevTransport::create(*context_, kernel_.channel(), options, log_.sink());
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().value(), ENOMEM);
}

}  // namespace
}  // namespace ouro::fs
