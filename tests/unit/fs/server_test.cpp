#include "fs/server.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

using Uniques = std::vector<std::uint64_t>;

class ServerTest : public ServerRigTest {
 protected:
  // Sends `count` requests, and gives their unique ids.
  Uniques send_many(std::size_t count, const Message& message) {
    Uniques uniques;
    for (std::size_t i = 0; i < count; ++i) uniques.push_back(rig_->send(message));
    return uniques;
  }
  [[nodiscard]] bool all_answered(const Uniques& uniques) {
    return std::all_of(uniques.begin(), uniques.end(),
                       [this](std::uint64_t unique) { return rig_->answered(unique); });
  }
  [[nodiscard]] bool none_answered(const Uniques& uniques) {
    return std::none_of(uniques.begin(), uniques.end(),
                        [this](std::uint64_t unique) { return rig_->answered(unique); });
  }
  void expect_successes(const Uniques& uniques) {
    for (const std::uint64_t unique : uniques) EXPECT_EQ(rig_->wait(unique).error(), 0) << unique;
  }
  // Fills the ordinary slots with reads that do not end. The file has as many bytes, so that each
  // is one operation.
  Uniques hold_reads(std::uint64_t handle, std::size_t count) {
    rig_->data.hold();
    const Uniques reads = send_many(count, requests::read(handle, 0, 16));
    rig_->until([&] { return rig_->data.held() == count; });
    return reads;
  }
};

TEST_F(ServerTest, EveryRouteAnswers) {
  backing_.put_file("file", "content");
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  EXPECT_EQ(rig.call(requests::read(handle, 0, 100)).text(), "content");
  fuse_copy_file_range_in copy{};
  copy.fh_in = handle;
  copy.fh_out = handle;
  copy.off_out = 10;
  copy.len = 7;
  EXPECT_EQ(rig.call(Message(FUSE_COPY_FILE_RANGE).with(copy)).as<fuse_write_out>().size, 7U);
  EXPECT_EQ(rig.counters().pooled, 1U);
  EXPECT_EQ(rig.call(requests::release(handle)).error(), 0);
  EXPECT_EQ(backing_.tree->open_count(), 0U);
  EXPECT_EQ(rig.counters().requests_by_opcode[FUSE_READ], 1U);
  EXPECT_EQ(rig.counters().requests_by_opcode[FUSE_LOOKUP], 1U);
}

TEST_F(ServerTest, WhatIsNotServedIsSaidOnce) {
  ServerRig& rig = start();
  for (const std::uint32_t opcode : {0U, 7U, 26U, 37U, 40U, 54U, 63U, 64U, 4096U, 0xffffffffU}) {
    EXPECT_EQ(rig.call(Message(opcode).zeros(64)).error(), ENOSYS) << opcode;
  }
}

TEST_F(ServerTest, DestroyIsAnswered) {
  EXPECT_EQ(start().call(Message(FUSE_DESTROY, 0)).error(), 0);
}

TEST_F(ServerTest, ControlRequestsAreNeverAnswered) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t node = rig.look_up("file");
  rig.send(requests::interrupt(1234));
  rig.send(Message(FUSE_FORGET, node).zeros(7));
  rig.send(Message(FUSE_BATCH_FORGET, 0).zeros(7));
  rig.send(Message(FUSE_INTERRUPT, 0).zeros(7));
  EXPECT_EQ(rig.call(requests::getattr()).error(), 0);
  EXPECT_TRUE(rig.kernel.waiting().empty());
  EXPECT_EQ(backing_.tree->inode_count(), 2U) << "too short a FORGET forgets nothing";
}

// --- without blocking ----------------------------------------------------------------------------

class WithoutBlockingTest : public ServerTest {
 protected:
  ServerRig& start_without_blocking() {
    ServerRig::Options options;
    options.blocking = passthrough::Blocking::kRefused;
    return start(options);
  }
};

TEST_F(WithoutBlockingTest, WhatIsKnownIsAnsweredHereAndAllElseByWorkers) {
  backing_.put_file("file", "content");
  ServerRig& rig = start_without_blocking();
  const std::uint64_t node = rig.look_up("file");
  ASSERT_NE(node, 0U);
  EXPECT_EQ(rig.call(requests::getattr(node)).error(), 0);
  EXPECT_EQ(rig.counters().pooled, 0U);
  EXPECT_EQ(rig.call(requests::lookup("never asked for")).error(), ENOENT);
  EXPECT_EQ(rig.counters().pooled, 1U) << "refused here";
  EXPECT_EQ(rig.call(requests::lookup("never asked for")).error(), ENOENT);
  EXPECT_EQ(rig.counters().pooled, 1U) << "known by now";
  const std::uint64_t handle = rig.call(requests::open(node, O_RDWR)).as<fuse_open_out>().fh;
  EXPECT_EQ(rig.counters().pooled, 2U);
  EXPECT_EQ(rig.call(requests::read(handle, 0, 100)).text(), "content");
  EXPECT_EQ(rig.counters().pooled, 2U);
  EXPECT_EQ(rig.call(requests::release(handle)).error(), 0);
  EXPECT_EQ(rig.call(Message(FUSE_UNLINK).name("file")).error(), 0);
  EXPECT_EQ(rig.counters().pooled, 3U);
  EXPECT_EQ(rig.metadata.waits(), 0U);
}

TEST_F(WithoutBlockingTest, AWorkerAnswersWhileTheLoopIsElsewhere) {
  ServerRig& rig = start_without_blocking();
  const std::uint64_t made = rig.send(Message(FUSE_STATFS));
  rig.until([&] { return rig.counters().pooled == 1; });
  EXPECT_EQ(rig.kernel.wait(made).error(), 0);  // in which the loop does not run
  rig.until([&] { return rig.server.idle(); });
  // Slots come back whenever the loop runs, so that there are always some.
  for (int i = 0; i < 200; ++i) EXPECT_EQ(rig.call(Message(FUSE_STATFS)).error(), 0);
  EXPECT_EQ(rig.counters().pooled, 201U);
}

TEST_F(WithoutBlockingTest, ManyAtOnceFindSlots) {
  ServerRig& rig = start_without_blocking();
  const Uniques asked = send_many(500, Message(FUSE_STATFS));
  rig.until([&] { return all_answered(asked); });
  expect_successes(asked);
  EXPECT_EQ(rig.counters().pooled, 500U);
}

TEST_F(WithoutBlockingTest, ALostReplyOfAWorkerIsUndone) {
  backing_.put_file("file");
  ServerRig& rig = start_without_blocking();
  const std::uint64_t node = rig.look_up("file");
  rig.kernel.lose_replies();
  rig.send(requests::open(node, O_RDONLY));
  rig.until([&] { return rig.counters().replies_lost == 1; });
  EXPECT_EQ(backing_.tree->open_count(), 0U);
}

// --- waiting -------------------------------------------------------------------------------------

TEST_F(ServerTest, OneHeldLookupDoesNotKeepReadsFromFinishing) {
  backing_.put_file("file", "content");
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  Uniques reads;
  const std::uint64_t held = rig.send(requests::lookup("file"));
  rig.metadata.hold_next([&] {
    reads = send_many(1000, requests::read(handle, 0, 100));
    rig.until([&] { return all_answered(reads); });
    EXPECT_FALSE(rig.answered(held));
  });
  EXPECT_EQ(rig.wait(held).error(), 0);
  ASSERT_EQ(reads.size(), 1000U);
  for (const std::uint64_t unique : reads) EXPECT_EQ(rig.wait(unique).text(), "content");
  EXPECT_GE(context_->counters().cqes_by_opcode[IORING_OP_READ], 1000U);
}

TEST_F(ServerTest, LaterMetadataIsDeferredAndKeepsItsOrder) {
  for (const char* name : {"a", "b", "c", "d"}) backing_.put_file(name);
  ServerRig& rig = start();
  // What is held longer than the server's patience goes another way, so a slow machine may need
  // a few attempts.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::uint64_t deferred_before = rig.counters().deferred;
    const std::uint64_t pooled_before = rig.counters().pooled;
    Uniques sent{rig.send(requests::lookup("a"))};
    rig.metadata.hold_next([&] {
      for (const char* name : {"b", "c", "d"}) sent.push_back(rig.send(requests::lookup(name)));
      rig.until([&] { return rig.counters().deferred == deferred_before + 3; });
      rig.settle();
      EXPECT_TRUE(none_answered({sent[0]}));
    });
    rig.until([&] { return all_answered({sent[0]}) && all_answered(sent); });
    expect_successes(sent);
    if (rig.counters().pooled != pooled_before) continue;
    const Uniques& order = rig.kernel.order();
    EXPECT_EQ(Uniques(order.end() - 4, order.end()), sent);
    return;
  }
  FAIL() << "the machine is too slow to see a wait of less than 10 ms";
}

TEST_F(ServerTest, ALongWaitHandsTheDeferredToThePool) {
  for (const char* name : {"a", "b", "c"}) backing_.put_file(name);
  ServerRig& rig = start();
  const std::uint64_t held = rig.send(requests::lookup("a"));
  Uniques deferred;
  rig.metadata.hold_next([&] {
    deferred = {rig.send(requests::lookup("b")), rig.send(requests::lookup("c"))};
    rig.until([&] { return all_answered(deferred); });
    EXPECT_FALSE(rig.answered(held));
    EXPECT_EQ(rig.counters().pooled, 2U);
    // Patience is over: what comes now does not wait for it again.
    const std::uint64_t late = rig.send(requests::lookup("missing"));
    rig.until([&] { return rig.answered(late); });
    EXPECT_FALSE(rig.answered(held));
    EXPECT_EQ(rig.wait(late).error(), ENOENT);
    EXPECT_EQ(rig.counters().pooled, 3U);
  });
  EXPECT_EQ(rig.wait(held).error(), 0);
  expect_successes(deferred);
  EXPECT_EQ(rig.counters().deferred, 3U);
  EXPECT_EQ(backing_.tree->inode_count(), 4U);
  // The next one runs on the ring again.
  const unsigned waits = rig.metadata.waits();
  EXPECT_EQ(rig.call(requests::getattr()).error(), 0);
  EXPECT_GT(rig.metadata.waits(), waits);
}

TEST_F(ServerTest, AHeldOperationMayDependOnTheMountItself) {
  // What a source that lies on the mount does: the held operation ends only when another metadata
  // request has been answered.
  backing_.put_file("a");
  ServerRig& rig = start();
  std::uint64_t inner = 0;
  rig.metadata.hold_next([&] {
    inner = rig.send(requests::getattr());
    rig.until([&] { return rig.answered(inner); });
  });
  EXPECT_EQ(rig.call(requests::lookup("a")).error(), 0);
  EXPECT_EQ(rig.wait(inner).error(), 0);
}

TEST_F(ServerTest, NothingThatOthersDependOnWaitsForAHeldLookup) {
  backing_.put_file("a");
  backing_.put_file("b");
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("b");
  const std::uint64_t node = rig.look_up("b");
  std::uint64_t released = 0;
  rig.metadata.hold_next([&] {
    rig.send(requests::forget(node, 2));
    rig.send(requests::interrupt(4321));
    released = rig.send(requests::release(handle));
    rig.until([&] { return rig.answered(released); });
    EXPECT_EQ(backing_.tree->inode_count(), 1U);
    EXPECT_EQ(backing_.tree->open_count(), 0U);
    EXPECT_EQ(rig.counters().deferred, 0U);
  });
  EXPECT_EQ(rig.call(requests::lookup("a")).error(), 0);
  EXPECT_EQ(rig.wait(released).error(), 0);
}

TEST_F(ServerTest, AForgottenInodeStaysWithWhoeverUsesIt) {
  backing_.put_file("file", "content");
  ServerRig& rig = start();
  const std::uint64_t node = rig.look_up("file");
  rig.metadata.hold_next([&] {
    rig.send(requests::forget(node));
    rig.until([&] { return backing_.tree->inode_count() == 1; });
  });
  const Answer answer = rig.call(requests::getattr(node));
  EXPECT_EQ(answer.as<fuse_attr_out>().attr.size, 7U);
  EXPECT_EQ(rig.call(requests::getattr(node)).error(), ESTALE);
}

TEST_F(ServerTest, AHeldOpenAndAReleasedHandle) {
  backing_.put_file("file", std::string(16, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  // The handle goes away under an operation that uses it.
  const Uniques reads = hold_reads(handle, 1);
  EXPECT_EQ(rig.call(requests::release(handle)).error(), 0);
  EXPECT_EQ(backing_.tree->open_count(), 0U);
  rig.data.let_all_go();
  EXPECT_EQ(rig.wait(reads[0]).text(), std::string(16, 'x'));
  EXPECT_EQ(rig.call(requests::read(handle, 0, 16)).error(), EBADF);
}

// --- slots ---------------------------------------------------------------------------------------

TEST_F(ServerTest, TheLastSlotsAreKeptForWhatOthersDependOn) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const std::uint64_t closing = rig.open("file");
  const std::uint64_t node = rig.look_up("file");
  const Uniques reads = hold_reads(handle, 8);
  const Uniques parked = send_many(3, requests::getattr());
  rig.until([&] { return rig.counters().parked == 3; });

  rig.send(requests::forget(node, 3));
  rig.send(requests::interrupt(reads[0]));
  EXPECT_EQ(rig.call(requests::release(closing)).error(), 0);
  EXPECT_EQ(backing_.tree->open_count(), 1U);
  EXPECT_EQ(rig.counters().interrupts, 1U);
  EXPECT_TRUE(none_answered(parked));
  EXPECT_TRUE(none_answered(reads));

  rig.data.let_all_go();
  expect_successes(reads);
  expect_successes(parked);
  EXPECT_EQ(rig.counters().parked, 3U);
}

TEST_F(ServerTest, WhatIsParkedKeepsItsOrder) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const Uniques reads = hold_reads(handle, 8);
  const Uniques parked = send_many(6, requests::getattr());
  rig.until([&] { return rig.counters().parked == 6; });
  rig.data.let_go(1);
  expect_successes({reads[0]});
  expect_successes(parked);
  const Uniques& order = rig.kernel.order();
  EXPECT_EQ(Uniques(order.end() - 6, order.end()), parked);
  EXPECT_TRUE(none_answered({reads.begin() + 1, reads.end()}));
  rig.data.let_all_go();
  expect_successes({reads.begin() + 1, reads.end()});
}

TEST_F(ServerTest, NobodyOvertakesTheParked) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const Uniques reads = hold_reads(handle, 8);
  const Uniques more = send_many(4, requests::read(handle, 1, 16));
  rig.until([&] { return rig.counters().parked == 4; });
  // Each slot that gets free is taken by the oldest of the parked, one by one.
  for (std::size_t i = 0; i < 4; ++i) {
    rig.data.let_go(1);
    expect_successes({reads[i]});
    rig.until([&] { return rig.data.held() == 8; });
  }
  const Uniques last = send_many(1, requests::read(handle, 2, 16));
  rig.until([&] { return rig.counters().parked == 5; });
  rig.data.let_all_go();
  expect_successes({reads.begin() + 4, reads.end()});
  expect_successes(more);
  expect_successes(last);
}

TEST_F(ServerTest, TheParkedLeaveTheLastSlotsFree) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig::Options options;
  options.slots = DevTransport::Options{}.slots;
  ServerRig& rig = start(options);
  const std::uint64_t handle = rig.open("file");
  const std::uint64_t closing = rig.open("file");
  const std::uint64_t node = rig.look_up("file");
  const Uniques reads = hold_reads(handle, options.slots - Server::kReservedSlots);
  const Uniques parked = send_many(500, requests::read(handle, 0, 16));
  rig.until([&] { return rig.counters().parked == 500; });
  EXPECT_EQ(rig.transport->free_slots(), Server::kReservedSlots);

  rig.send(requests::forget(node, 3));
  rig.send(requests::interrupt(parked[400]));
  EXPECT_EQ(rig.call(requests::release(closing)).error(), 0);
  EXPECT_EQ(backing_.tree->open_count(), 1U);
  EXPECT_EQ(rig.counters().interrupts, 1U);
  EXPECT_EQ(relay_.relayed(), 0U) << "its target is found among the parked";
  EXPECT_TRUE(none_answered(parked));

  rig.data.let_all_go();
  expect_successes(reads);
  expect_successes(parked);
}

TEST_F(ServerTest, AParkedWriteKeepsItsData) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const Uniques reads = hold_reads(handle, 8);
  std::string data(100'000, 'a');
  data.front() = 'A';
  data.back() = 'Z';
  const std::uint64_t write = rig.send(requests::write(handle, 64, data));
  rig.until([&] { return rig.counters().parked == 1; });
  // What comes meanwhile uses the slot that it has left.
  rig.send(requests::interrupt(1234));
  rig.data.let_all_go();
  EXPECT_EQ(rig.wait(write).as<fuse_write_out>().size, data.size());
  expect_successes(reads);
  EXPECT_TRUE(backing_.content("file") == std::string(64, 'x') + data);
}

TEST_F(ServerTest, WithTooMuchParkedTheBacklogStaysInTheKernel) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const Uniques reads = hold_reads(handle, 8);
  const Uniques more = send_many(ParkedRequests::kMaxCount + 100, requests::getattr());
  rig.until([&] { return rig.counters().parked == ParkedRequests::kMaxCount; });
  rig.settle();
  EXPECT_EQ(rig.transport->free_slots(), Server::kReservedSlots);
  const std::uint64_t before = context_->counters().iterations;
  bool over = false;
  loop::Timer timer(*context_, [&] { over = true; });
  timer.arm_in(50'000'000);
  testing::poll_until(*context_, [&] { return over; });
  EXPECT_LE(context_->counters().iterations - before, 3U) << "it must not spin";
  EXPECT_EQ(rig.counters().parked, ParkedRequests::kMaxCount);

  rig.data.let_all_go();
  expect_successes(reads);
  expect_successes(more);
}

TEST_F(ServerTest, AFloodIsAnsweredToTheLast) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  Uniques sent;
  for (int i = 0; i < 1000; ++i) {
    sent.push_back(rig.send(requests::read(handle, 0, 16)));
    sent.push_back(rig.send(requests::lookup("file")));
    sent.push_back(rig.send(requests::getattr()));
    rig.send(requests::forget(requests::kRoot, 1));
  }
  expect_successes(sent);
  EXPECT_EQ(rig.transport->free_slots(), 16U);
  EXPECT_EQ(backing_.tree->inode_count(), 2U);
}

// --- allow_root ----------------------------------------------------------------------------------

class OnlyUser : public ServerTest {
 protected:
  void SetUp() override {
    backing_.put_file("file", "content");
    ServerRig::Options options;
    options.connection.only_user = 1000;
    start(options);
  }
};

TEST_F(OnlyUser, TurnsOthersAway) {
  EXPECT_EQ(rig_->call(requests::lookup("file").from(1000, 1000)).error(), 0);
  EXPECT_EQ(rig_->call(requests::lookup("file").from(0, 0)).error(), 0);
  EXPECT_EQ(rig_->call(requests::lookup("file").from(1001, 1000)).error(), EACCES);
  EXPECT_EQ(rig_->call(requests::getattr().from(1001, 1000)).error(), EACCES);
  EXPECT_EQ(rig_->call(requests::opendir().from(1001, 1000)).error(), EACCES);
}

TEST_F(OnlyUser, WhatIsOpenIsUsedByWhoeverHoldsIt) {
  const std::uint64_t handle = rig_->open("file");
  const std::uint64_t directory = rig_->call(requests::opendir()).as<fuse_open_out>().fh;
  const auto as_other = [&](Message message) { return rig_->call(message.from(1001, 1001)); };
  EXPECT_EQ(as_other(requests::read(handle, 0, 100)).text(), "content");
  EXPECT_EQ(as_other(requests::write(handle, 0, "C")).error(), 0);
  EXPECT_EQ(as_other(requests::fsync(handle)).error(), 0);
  EXPECT_EQ(as_other(Message(FUSE_FLUSH).with(fuse_flush_in{handle, 0, 0, 0})).error(), 0);
  EXPECT_EQ(as_other(requests::readdir(directory, 0, 4096)).error(), 0);
  EXPECT_EQ(as_other(requests::fsync(directory, 0, FUSE_FSYNCDIR)).error(), 0);
  EXPECT_EQ(as_other(requests::release(directory, FUSE_RELEASEDIR)).error(), 0);
  EXPECT_EQ(as_other(requests::release(handle)).error(), 0);
  EXPECT_EQ(backing_.tree->open_count(), 0U);
}

TEST_F(OnlyUser, OthersMayForget) {
  const std::uint64_t node = rig_->look_up("file");
  rig_->send(requests::forget(node).from(1001, 1001));
  rig_->until([&] { return backing_.tree->inode_count() == 1; });
}

// --- the end -------------------------------------------------------------------------------------

TEST_F(ServerTest, DrainFinishesWhatIsInProgress) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  const Uniques reads = hold_reads(handle, 8);
  const Uniques parked = send_many(2, requests::getattr());
  rig.until([&] { return rig.counters().parked == 2; });
  EXPECT_FALSE(rig.server.finished());
  rig.server.drain();
  EXPECT_FALSE(rig.server.finished());
  const std::uint64_t late = rig.send(requests::getattr());
  rig.data.let_all_go();
  expect_successes(reads);
  expect_successes(parked);
  rig.until([&] { return rig.server.finished(); });
  EXPECT_FALSE(rig.answered(late));
  EXPECT_FALSE(rig.server.disconnected());
}

TEST_F(ServerTest, DrainWithinAWaitFinishesTheWait) {
  backing_.put_file("a");
  ServerRig& rig = start();
  std::uint64_t deferred = 0;
  rig.metadata.hold_next([&] {
    deferred = rig.send(requests::getattr());
    rig.until([&] { return rig.counters().deferred == 1; });
    rig.server.drain();
    EXPECT_FALSE(rig.server.finished());
  });
  EXPECT_EQ(rig.call(requests::lookup("a")).error(), 0);
  EXPECT_EQ(rig.wait(deferred).error(), 0);
  rig.until([&] { return rig.server.finished(); });
}

TEST_F(ServerTest, TheKernelHangsUp) {
  backing_.put_file("file", std::string(64, 'x'));
  ServerRig& rig = start();
  const std::uint64_t handle = rig.open("file");
  hold_reads(handle, 2);
  rig.kernel.hang_up();
  rig.until([&] { return rig.server.disconnected().has_value(); });
  EXPECT_EQ(rig.server.disconnected(), Disconnect::kFailed);
  EXPECT_FALSE(rig.server.finished());
  rig.data.let_all_go();
  rig.until([&] { return rig.server.finished(); });
  EXPECT_EQ(rig.counters().replies_lost, 2U);
}

}  // namespace
}  // namespace ouro::fs
