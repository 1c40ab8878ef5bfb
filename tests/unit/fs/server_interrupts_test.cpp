#include <sys/types.h>

#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fs/server_rig.hpp"
#include "tests/unit/fs/signalled_child.hpp"

namespace ouro::fs {
namespace {

// What the kernel's client reads as "not found, send it again".
std::uint64_t answer_id(std::uint64_t target) {
  return target | wire::kInterruptBit;
}

// A lease of a file, for which whoever opens the file waits.
class Lease {
 public:
  explicit Lease(const std::string& path) : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    (void)::signal(SIGIO, SIG_IGN);  // asks for it back
    held_ = ::fcntl(fd_.get(), F_SETLEASE, F_WRLCK) == 0;
  }
  [[nodiscard]] bool is_held() const { return held_; }
  [[nodiscard]] bool is_asked_back() const { return ::fcntl(fd_.get(), F_GETLEASE) != F_WRLCK; }
  void give_back() { fd_.reset(); }

 private:
  loop::UniqueFd fd_;
  bool held_ = false;
};

class InterruptTest : public ServerRigTest {
 protected:
  // Has the server take everything in that was sent until now.
  void catch_up() { EXPECT_EQ(rig_->call(requests::getattr()).error(), 0); }

  std::uint64_t open_file() {
    backing_.put_file("file", std::string(64, 'x'));
    return rig_->open("file");
  }
  // A read that does not end by itself.
  std::uint64_t hold_read(std::uint64_t handle, pid_t pid) {
    rig_->data.hold();
    const std::size_t before = rig_->data.held();
    const std::uint64_t unique = rig_->send(requests::read(handle, 0, 16).from(0, 0, pid));
    rig_->until([&] { return rig_->data.held() == before + 1; });
    return unique;
  }

  const SignalledChild killed_{SIGKILL};
};

// --- targets in progress -------------------------------------------------------------------------

TEST_F(InterruptTest, AReadOfAKilledClientEndsEarly) {
  ServerRig& rig = start();
  const std::uint64_t read = hold_read(open_file(), killed_.pid());
  rig.send(requests::interrupt(read));
  EXPECT_EQ(rig.wait(read).error(), EINTR);
  EXPECT_EQ(rig.counters().interrupts, 1U);
  EXPECT_EQ(rig.counters().interrupted, 1U);
}

TEST_F(InterruptTest, AReadOfALivingClientGoesOn) {
  // A regular file's read is not interruptible natively, whatever the signal.
  const SignalledChild terminated(SIGTERM);
  ServerRig& rig = start();
  const std::uint64_t handle = open_file();
  constexpr pid_t kNobody = 0;  // what the kernel says of clients in another pid namespace
  for (const pid_t pid : {terminated.pid(), ::getpid(), kNobody, pid_t{0x7fffffff}}) {
    const std::uint64_t read = hold_read(handle, pid);
    rig.send(requests::interrupt(read));
    catch_up();
    EXPECT_FALSE(rig.answered(read)) << pid;
    rig.data.let_all_go();
    EXPECT_EQ(rig.wait(read).payload.size(), 16U);
  }
  EXPECT_EQ(rig.counters().interrupts, 4U);
  EXPECT_EQ(rig.counters().interrupted, 0U);
}

TEST_F(InterruptTest, AHeldLookupOfAKilledClientEndsEarly) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t lookup = rig.send(requests::lookup("file").from(0, 0, killed_.pid()));
  rig.metadata.hold_next([&] {
    rig.send(requests::interrupt(lookup));
    rig.until([&] { return rig.counters().interrupted == 1; });
  });
  EXPECT_EQ(rig.wait(lookup).error(), EINTR);
  EXPECT_EQ(rig.metadata.abandoned(), 1U);
  EXPECT_EQ(backing_.tree->inode_count(), 1U);
  // The next wait is nobody's business but its own.
  EXPECT_EQ(rig.call(requests::lookup("file")).error(), 0);
}

TEST_F(InterruptTest, AHeldLookupOfALivingClientGoesOn) {
  backing_.put_file("file");
  ServerRig& rig = start();
  const std::uint64_t lookup = rig.send(requests::lookup("file").from(0, 0, ::getpid()));
  rig.metadata.hold_next([&] {
    rig.send(requests::interrupt(lookup));
    rig.until([&] { return rig.counters().interrupts == 1; });
  });
  EXPECT_EQ(rig.wait(lookup).error(), 0);
  EXPECT_EQ(rig.metadata.abandoned(), 0U);
}

TEST_F(InterruptTest, ADeferredRequestOfAKilledClientNeverBegins) {
  backing_.put_file("file");
  ServerRig& rig = start();
  // It has to be met while it is deferred, before it goes to the worker pool.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::uint64_t before = rig.counters().interrupted;
    const std::string name = "directory" + std::to_string(attempt);
    std::uint64_t deferred = 0;
    rig.metadata.hold_next([&] {
      deferred = rig.send(requests::mkdir(name, 0755).from(0, 0, killed_.pid()));
      rig.send(requests::interrupt(deferred));
      rig.until([&] { return rig.answered(deferred); });
    });
    EXPECT_EQ(rig.call(requests::lookup("file")).error(), 0);
    const int error = rig.wait(deferred).error();
    ASSERT_EQ(rig.counters().interrupted, before + 1);
    if (error == 0) continue;
    EXPECT_EQ(error, EINTR);
    EXPECT_EQ(rig.call(requests::lookup(name)).error(), ENOENT);
    return;
  }
  FAIL() << "the machine is too slow to see a deferral of less than 10 ms";
}

TEST_F(InterruptTest, AParkedRequestOfAKilledClientNeverBegins) {
  ServerRig& rig = start();
  const std::uint64_t handle = open_file();
  std::vector<std::uint64_t> reads;
  for (int i = 0; i < 8; ++i) reads.push_back(hold_read(handle, 0));
  const std::uint64_t first = rig.send(requests::getattr());
  const std::uint64_t parked = rig.send(requests::getattr().from(0, 0, killed_.pid()));
  const std::uint64_t last = rig.send(requests::getattr());
  rig.until([&] { return rig.counters().parked == 3; });
  rig.send(requests::interrupt(parked));
  EXPECT_EQ(rig.wait(parked).error(), EINTR);
  EXPECT_FALSE(rig.answered(first));
  rig.data.let_all_go();
  EXPECT_EQ(rig.wait(first).error(), 0);
  EXPECT_EQ(rig.wait(last).error(), 0);
  for (const std::uint64_t read : reads) EXPECT_EQ(rig.wait(read).error(), 0);
}

TEST_F(InterruptTest, ThereIsASlotForTheInterruptOfWhatWasParked) {
  // All that is not reserved is taken; the slot that gets free lets a parked lookup begin, which
  // is then held.
  backing_.put_file("name");
  ServerRig& rig = start();
  const std::uint64_t handle = open_file();
  std::vector<std::uint64_t> others;
  for (int i = 0; i < 8; ++i) others.push_back(hold_read(handle, 0));
  const std::uint64_t lookup = rig.send(requests::lookup("name").from(0, 0, killed_.pid()));
  for (int i = 0; i < 7; ++i) others.push_back(rig.send(requests::read(handle, 0, 16)));
  rig.until([&] { return rig.counters().parked == 8; });
  EXPECT_EQ(rig.transport->free_slots(), Server::kReservedSlots);
  rig.metadata.hold_next([&] {
    rig.send(requests::interrupt(lookup));
    rig.until([&] { return rig.counters().interrupted == 1; });
  });
  rig.data.let_go(1);
  EXPECT_EQ(rig.wait(lookup).error(), EINTR);
  rig.data.let_all_go();
  for (const std::uint64_t read : others) EXPECT_EQ(rig.wait(read).error(), 0);
}

TEST_F(InterruptTest, APooledRequestOfAKilledClientEndsUnlessItHasBegun) {
  backing_.put_file("held");
  backing_.put_file("a");
  ServerRig::Options options;
  options.slots = Server::kMaxWorkers + 16;
  ServerRig& rig = start(options);
  const std::uint64_t node = rig.look_up("held");
  const std::uint64_t root_lookups = backing_.tree->inode_count();
  Lease lease(backing_.directory / "held");
  if (!lease.is_held()) GTEST_SKIP() << "no leases in " << backing_.directory.path();
  std::vector<std::uint64_t> opens;
  std::uint64_t queued = 0;
  std::uint64_t living = 0;
  rig.metadata.hold_next([&] {
    // Every worker of the pool waits for the lease.
    for (unsigned i = 0; i < Server::kMaxWorkers; ++i) {
      opens.push_back(rig.send(requests::open(node, O_RDONLY).from(0, 0, killed_.pid())));
    }
    rig.until([&] { return rig.counters().pooled == opens.size(); });
    while (!lease.is_asked_back()) std::this_thread::yield();  // by a worker: no news to the loop
    queued = rig.send(requests::lookup("a").from(0, 0, killed_.pid()));
    living = rig.send(requests::lookup("a").from(0, 0, ::getpid()));
    rig.until([&] { return rig.counters().pooled == opens.size() + 2; });
    for (const std::uint64_t unique : {opens[0], queued, living}) {
      rig.send(requests::interrupt(unique));
    }
    rig.until([&] { return rig.answered(queued); });
    EXPECT_EQ(rig.wait(queued).error(), EINTR);
    rig.until([&] { return rig.counters().interrupts == 3; });
    rig.settle();
    EXPECT_FALSE(rig.answered(opens[0]));
    EXPECT_FALSE(rig.answered(living));
    lease.give_back();
  });
  EXPECT_EQ(rig.call(requests::getattr()).error(), 0);
  for (const std::uint64_t unique : opens) EXPECT_EQ(rig.wait(unique).error(), 0);
  EXPECT_EQ(rig.wait(living).error(), 0);
  EXPECT_EQ(backing_.tree->inode_count(), root_lookups + 1);
}

TEST_F(InterruptTest, SeveralInterruptsOfOneRequest) {
  ServerRig& rig = start();
  const std::uint64_t read = hold_read(open_file(), killed_.pid());
  for (int i = 0; i < 3; ++i) rig.send(requests::interrupt(read));
  EXPECT_EQ(rig.wait(read).error(), EINTR);
  catch_up();
  EXPECT_EQ(rig.counters().interrupts, 3U);
  EXPECT_TRUE(rig.kernel.waiting().empty());
}

// --- targets that are not there ------------------------------------------------------------------

TEST_F(InterruptTest, UnknownAndFinishedTargetsAreIgnored) {
  ServerRig& rig = start();
  const std::uint64_t finished = rig.send(requests::getattr());
  EXPECT_EQ(rig.wait(finished).error(), 0);
  for (const std::uint64_t target :
       {finished, std::uint64_t{0}, std::uint64_t{1} << 63, ~wire::kInterruptBit}) {
    rig.send(requests::interrupt(target));
  }
  catch_up();
  EXPECT_EQ(rig.counters().interrupts, 4U);
  EXPECT_EQ(rig.counters().interrupted, 0U);
  EXPECT_EQ(relay_.relayed(), 4U);
  EXPECT_TRUE(rig.kernel.waiting().empty()) << "an INTERRUPT as such is not answered";
}

TEST_F(InterruptTest, BeforeItsRequestItIsAskedForAgain) {
  ServerRig& rig = start();
  rig.send(requests::interrupt(1000));
  catch_up();
  EXPECT_TRUE(rig.kernel.waiting().empty());
  EXPECT_EQ(rig.call(requests::getattr().unique(1000)).error(), 0);
  const auto again = rig.kernel.take(answer_id(1000));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->error(), EAGAIN);
  const auto& order = rig.kernel.order();
  ASSERT_GE(order.size(), 2U);
  EXPECT_EQ(order[order.size() - 2], answer_id(1000)) << "while the original is still there";
  // Once.
  EXPECT_EQ(rig.call(requests::getattr().unique(1002)).error(), 0);
  EXPECT_TRUE(rig.kernel.waiting().empty());
}

TEST_F(InterruptTest, SentAgainItReachesItsRequest) {
  ServerRig& rig = start();
  const std::uint64_t handle = open_file();
  rig.send(requests::interrupt(1000));
  catch_up();
  rig.data.hold();
  rig.send(requests::read(handle, 0, 16).unique(1000).from(0, 0, killed_.pid()));
  rig.until([&] { return rig.answered(answer_id(1000)); });
  EXPECT_EQ(rig.wait(answer_id(1000)).error(), EAGAIN);
  EXPECT_FALSE(rig.answered(1000));
  rig.send(requests::interrupt(1000));
  EXPECT_EQ(rig.wait(1000).error(), EINTR);
}

TEST_F(InterruptTest, AStorm) {
  ServerRig& rig = start();
  const std::uint64_t handle = open_file();
  const std::uint64_t killed_read = hold_read(handle, killed_.pid());
  const std::uint64_t living_read = hold_read(handle, ::getpid());
  std::uint64_t answered = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    // Unknown ones, finished ones, and now and then one of a request that lives.
    const std::uint64_t target = i % 100 == 0 ? living_read : i % 3 == 0 ? 2 : 1'000'000 + 2 * i;
    rig.send(requests::interrupt(target));
    if (i % 500 != 0) continue;
    EXPECT_EQ(rig.call(requests::getattr()).error(), 0);
    ++answered;
  }
  catch_up();
  EXPECT_EQ(rig.counters().interrupts, 10'000U);
  EXPECT_EQ(answered, 20U);
  EXPECT_FALSE(rig.answered(killed_read));
  rig.send(requests::interrupt(killed_read));
  EXPECT_EQ(rig.wait(killed_read).error(), EINTR);
  rig.data.let_all_go();
  EXPECT_EQ(rig.wait(living_read).error(), 0);
  EXPECT_EQ(rig.transport->free_slots(), 16U);
}

// --- clones --------------------------------------------------------------------------------------

// Two servers, each with a channel of its own, as the clones of one connection.
class TwoServers : public InterruptTest {
 protected:
  void SetUp() override {
    start();
    other_ = std::make_unique<ServerRig>(*other_context_, backing_, relay_, ServerRig::Options{});
  }
  template <typename Done>
  void until(Done done) {
    while (!done()) {
      (void)context_->poll(loop::Blocking::kNo);
      (void)other_context_->poll(loop::Blocking::kNo);
    }
  }

  std::unique_ptr<loop::AioContext> other_context_ = loop::AioContext::create().value();
  std::unique_ptr<ServerRig> other_;
};

TEST_F(TwoServers, AnInterruptFindsItsRequestOnTheOther) {
  const std::uint64_t read = hold_read(open_file(), killed_.pid());
  other_->send(requests::interrupt(read));
  until([&] { return rig_->answered(read); });
  EXPECT_EQ(rig_->wait(read).error(), EINTR);
  EXPECT_EQ(other_->counters().interrupts, 1U);
  EXPECT_EQ(other_->counters().interrupted, 0U);
  EXPECT_EQ(rig_->counters().interrupted, 1U);
  EXPECT_TRUE(other_->kernel.waiting().empty());
}

TEST_F(TwoServers, OneThatIsFoundHereIsNotRelayed) {
  const std::uint64_t read = hold_read(open_file(), killed_.pid());
  rig_->send(requests::interrupt(read));
  EXPECT_EQ(rig_->wait(read).error(), EINTR);
  EXPECT_EQ(relay_.relayed(), 0U);
}

TEST_F(TwoServers, OnlyTheChannelOfTheOriginalIsAskedForAgain) {
  // Read by one, while the request itself will come to the other.
  other_->send(requests::interrupt(1000));
  until([&] { return other_->counters().interrupts == 1; });
  rig_->settle();  // the relayed one
  rig_->send(requests::getattr().unique(1000));
  until([&] { return rig_->answered(1000); });
  EXPECT_EQ(rig_->wait(1000).error(), 0);
  const auto again = rig_->kernel.take(answer_id(1000));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->error(), EAGAIN);
  other_->settle();
  other_->kernel.collect();
  EXPECT_TRUE(other_->kernel.waiting().empty());
}

}  // namespace
}  // namespace ouro::fs
