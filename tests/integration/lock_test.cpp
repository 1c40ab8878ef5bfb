// Locks of files through the mount and beside it. With locks=remote they are the source's: whoever
// uses it natively is excluded, and excludes. A file of the native directory beside the source is
// the oracle for what each call answers.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/integration/shared_memory.hpp"

namespace ouro::testing {
namespace {

using loop::UniqueFd;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct ::flock range(short type, off_t start = 0, off_t length = 0) {
  struct ::flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

int result_of(int returned) {
  return returned < 0 ? errno : 0;
}

int set_range(int fd, short type, off_t start = 0, off_t length = 0, int command = F_SETLK) {
  struct ::flock lock = range(type, start, length);
  return result_of(::fcntl(fd, command, &lock));
}

int flock_now(int fd, int how) {
  return result_of(::flock(fd, how | LOCK_NB));
}

// One call that is done to a file of the native directory and to a file of the mount.
struct Call {
  enum class What : std::uint8_t { kSet, kGet, kFlock, kReopen, kEnd } what;
  short type;
  int how;
  off_t start;
  off_t length;
};

// What it answered.
struct Answer {
  int error = 0;
  short type = 0;
  off_t start = 0;
  off_t length = 0;
  pid_t pid = 0;

  friend bool operator==(const Answer&, const Answer&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Answer& a) {
    return out << "errno " << a.error << " type " << a.type << " start " << a.start << " length "
               << a.length << " pid " << a.pid;
  }
};
using Answers = std::array<Answer, 2>;

Answer do_call(const Call& call, UniqueFd& fd, const std::string& path) {
  Answer answer;
  struct ::flock lock = range(call.type, call.start, call.length);
  switch (call.what) {
    case Call::What::kSet:
      answer.error = result_of(::fcntl(fd.get(), F_SETLK, &lock));
      break;
    case Call::What::kGet:
      answer.error = result_of(::fcntl(fd.get(), F_GETLK, &lock));
      answer.type = lock.l_type;
      if (lock.l_type == F_UNLCK) break;
      answer = {answer.error, lock.l_type, lock.l_start, lock.l_len, lock.l_pid};
      break;
    case Call::What::kFlock:
      answer.error = flock_now(fd.get(), call.how);
      break;
    case Call::What::kReopen:
      fd.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      break;
    case Call::What::kEnd:
      break;
  }
  return answer;
}

// A process that does what it is told, natively and through the mount.
class Client {
 public:
  Client(const std::string& native, const std::string& mounted) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_.reset(ends[0]);
    const UniqueFd theirs(ends[1]);
    process_ = std::make_unique<Process>(Process::run(Who::kRoot, [&] {
      serve(theirs.get(), {native, mounted});
      return 0;
    }));
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    const Call end{Call::What::kEnd, 0, 0, 0, 0};
    EXPECT_EQ(::send(ours_.get(), &end, sizeof end, MSG_NOSIGNAL), ssize_t{sizeof end});
    EXPECT_EQ(process_->wait(seconds(20)), kExitOk);
  }
  [[nodiscard]] Answers call(const Call& call) const {
    Answers answers;
    EXPECT_EQ(::send(ours_.get(), &call, sizeof call, MSG_NOSIGNAL), ssize_t{sizeof call});
    EXPECT_EQ(::recv(ours_.get(), &answers, sizeof answers, 0), ssize_t{sizeof answers});
    return answers;
  }

 private:
  static void serve(int channel, const std::array<std::string, 2>& paths) {
    std::array<UniqueFd, 2> fds;
    for (unsigned i = 0; i < 2; ++i) fds[i].reset(::open(paths[i].c_str(), O_RDWR | O_CLOEXEC));
    Call call{};
    while (::recv(channel, &call, sizeof call, 0) == ssize_t{sizeof call}) {
      if (call.what == Call::What::kEnd) return;
      Answers answers;
      for (unsigned i = 0; i < 2; ++i) answers[i] = do_call(call, fds[i], paths[i]);
      (void)!::send(channel, &answers, sizeof answers, MSG_NOSIGNAL);
    }
  }

  UniqueFd ours_;
  std::unique_ptr<Process> process_;
};

class RemoteLocks : public ::testing::TestWithParam<Metadata> {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    const Mode mode{.metadata = GetParam(), .loops = 2};
    mount_ = std::make_unique<Mounted>(MountPlan{.options = mode.options("locks=remote")});
    ASSERT_EQ(mount_->served("locks"), "remote");
    ASSERT_EQ(mount_->served("metadata"), GetParam() == Metadata::kNested ? "nested" : "inline");
    make_file(mount_->source() / "file", "content");
  }
  void expect_requests(std::initializer_list<const char*> names) {
    const Statistics statistics = mount_->statistics();
    for (const char* name : names) EXPECT_GT(statistics[name], 0U) << name;
  }
  [[nodiscard]] std::string mounted() const { return mount_->path() / "file"; }
  [[nodiscard]] std::string source() const { return mount_->source() / "file"; }
  [[nodiscard]] UniqueFd open_source() const {
    return UniqueFd(::open(source().c_str(), O_RDWR | O_CLOEXEC));
  }

  // A client of the mount that tries `body` with the file open.
  [[nodiscard]] int ask(const std::function<int(int)>& body) const {
    Process client = start(body);
    const auto exit = client.wait(seconds(20));
    EXPECT_TRUE(exit);
    return exit ? exit->code : -1;
  }
  [[nodiscard]] Process start(const std::function<int(int)>& body) const {
    return Process::run(Who::kRoot, [path = mounted(), body] {
      const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      return fd ? body(fd.get()) : -1;
    });
  }
  // One that counts itself when it is about to wait, and when it has the lock.
  [[nodiscard]] Process start_waiter(const std::function<int(int)>& wait) const {
    return start([this, wait](int fd) {
      ++*begun_;
      const int result = wait(fd);
      if (result == 0) ++*granted_;
      return result;
    });
  }
  // Until so many wait within the mount.
  void await_waits(std::uint64_t count) {
    EXPECT_TRUE(eventually([&] { return mount_->statistics()["lock_waits"] >= count; }))
        << mount_->statistics().text();
  }
  void expect_others_served() const {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(ask([](int fd) { return read_at(fd, 100, 0).size() == 7 ? 0 : 1; }), 0);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, at_pace(seconds(2)));
  }

  std::unique_ptr<Mounted> mount_;
  const SharedCount begun_;
  const SharedCount granted_;
};

TEST_P(RemoteLocks, RangesExcludeThoseBesideTheMount) {
  const auto locks_all = [](int fd) { return set_range(fd, F_WRLCK); };
  UniqueFd native = open_source();
  ASSERT_EQ(set_range(native.get(), F_WRLCK, 2, 3), 0);
  EXPECT_EQ(ask(locks_all), EAGAIN);
  EXPECT_EQ(ask([](int fd) { return set_range(fd, F_WRLCK, 5); }), 0);
  const pid_t us = ::getpid();
  EXPECT_EQ(ask([us](int fd) {
              struct ::flock wanted = range(F_RDLCK);
              if (::fcntl(fd, F_GETLK, &wanted) != 0) return errno;
              return wanted.l_type == F_WRLCK && wanted.l_start == 2 && wanted.l_len == 3 &&
                             wanted.l_pid == us
                         ? 0
                         : 255;
            }),
            0)
      << "who holds it natively";
  native.reset();
  EXPECT_EQ(ask(locks_all), 0);

  // The other way round.
  Process holder = start_waiter([](int fd) {
    const int result = set_range(fd, F_WRLCK, 2, 3, F_SETLKW);
    ::raise(SIGSTOP);
    return result;
  });
  native = open_source();
  const auto is_locked = [&] {
    struct ::flock wanted = range(F_WRLCK);
    EXPECT_EQ(::fcntl(native.get(), F_GETLK, &wanted), 0);
    return wanted.l_type != F_UNLCK;
  };
  EXPECT_TRUE(eventually(is_locked));
  EXPECT_EQ(set_range(native.get(), F_RDLCK, 0, 3), EAGAIN);
  EXPECT_EQ(set_range(native.get(), F_WRLCK, 5), 0);
  // What a killed client had locked is free.
  holder.signal(SIGKILL);
  EXPECT_TRUE(holder.wait(seconds(20)));
  EXPECT_TRUE(eventually([&] { return !is_locked(); }));
  expect_requests({"request.SETLK", "request.SETLKW", "request.GETLK", "request.FLUSH"});
}

TEST_P(RemoteLocks, FlockExcludesThoseBesideTheMount) {
  const auto locks = [](int how) { return [how](int fd) { return flock_now(fd, how); }; };
  const UniqueFd native = open_source();
  ASSERT_EQ(flock_now(native.get(), LOCK_SH), 0);
  EXPECT_EQ(ask(locks(LOCK_EX)), EAGAIN);
  EXPECT_EQ(ask(locks(LOCK_SH)), 0);
  // KERNEL: a close() does not wait for RELEASE, which gives the lock up.
  EXPECT_TRUE(eventually([&] { return flock_now(native.get(), LOCK_EX) == 0; }));
  EXPECT_EQ(ask(locks(LOCK_SH)), EAGAIN);
  Process waiter = start([](int fd) {
    const int result = result_of(::flock(fd, LOCK_EX));
    ::raise(SIGSTOP);
    return result;
  });
  await_waits(1);
  EXPECT_EQ(flock_now(native.get(), LOCK_UN), 0);
  EXPECT_TRUE(eventually([&] {
    const int result = flock_now(native.get(), LOCK_SH);
    if (result == 0) flock_now(native.get(), LOCK_UN);
    return result == EAGAIN;
  }));
  waiter.signal(SIGKILL);
  EXPECT_TRUE(waiter.wait(seconds(20)));
  EXPECT_TRUE(eventually([&] { return flock_now(native.get(), LOCK_EX) == 0; }));
  expect_requests({"request.SETLK", "request.SETLKW", "request.RELEASE"});
}

TEST_P(RemoteLocks, EveryCallAnswersAsItDoesNatively) {
  const std::filesystem::path native = mount_->native() / "file";
  make_file(native, "content");
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::make_unique<Client>(native, mounted()));
  std::mt19937 random(20);
  const auto below = [&](int limit) { return static_cast<int>(random() % unsigned(limit)); };
  const std::array<short, 3> types{F_RDLCK, F_WRLCK, F_UNLCK};
  int refused = 0;
  int held = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto what = std::array{Call::What::kSet,   Call::What::kSet, Call::What::kSet,
                                 Call::What::kGet,   Call::What::kGet, Call::What::kGet,
                                 Call::What::kReopen}[unsigned(below(i % 8 == 0 ? 7 : 6))];
    const Call call{what, types[unsigned(below(what == Call::What::kGet ? 2 : 3))], 0, below(20),
                    below(12)};
    const auto who = unsigned(below(3));
    Answers answers = clients[who]->call(call);
    // Of several readers of the same bytes either may be told.
    if (answers[0].type == F_RDLCK) answers[1].pid = answers[0].pid;
    ASSERT_EQ(answers[0], answers[1]) << "call " << i << " of client " << who;
    refused += answers[0].error == EAGAIN ? 1 : 0;
    held += what == Call::What::kGet && answers[0].type != F_UNLCK ? 1 : 0;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(held, 100);
  expect_requests({"request.SETLK", "request.GETLK", "request.FLUSH"});
}

TEST_P(RemoteLocks, OneHolderIsToldAsItIsNatively) {
  const std::filesystem::path native = mount_->native() / "file";
  make_file(native, "content");
  const Client holder(native, mounted());
  const Client other(native, mounted());
  using What = Call::What;
  const auto both = [](const Client& client, const Call& call) {
    const Answers answers = client.call(call);
    EXPECT_EQ(answers[0], answers[1]);
    return answers[0];
  };
  EXPECT_EQ(both(holder, {What::kSet, F_WRLCK, 0, 10, 20}).error, 0);
  EXPECT_EQ(both(holder, {What::kSet, F_RDLCK, 0, 15, 5}).error, 0);
  EXPECT_EQ(both(holder, {What::kSet, F_UNLCK, 0, 25, 2}).error, 0);
  EXPECT_EQ(both(holder, {What::kGet, F_WRLCK, 0, 0, 0}).type, F_UNLCK) << "its own";
  for (const off_t start : {0, 12, 15, 17, 20, 25, 26, 27, 29, 30}) {
    for (const short type : {short{F_RDLCK}, short{F_WRLCK}}) {
      for (const off_t length : {1, 2, 0}) both(other, {What::kGet, type, 0, start, length});
    }
  }
  EXPECT_EQ(both(other, {What::kGet, F_RDLCK, 0, 0, 0}).length, 5);
  EXPECT_EQ(both(holder, {What::kReopen, 0, 0, 0, 0}).error, 0);
  EXPECT_EQ(both(other, {What::kGet, F_WRLCK, 0, 0, 0}).type, F_UNLCK) << "a close unlocks all";
}

TEST_P(RemoteLocks, FlockAnswersAsItDoesNatively) {
  const std::filesystem::path native = mount_->native() / "file";
  make_file(native, "content");
  const Client one(native, mounted());
  const Client two(native, mounted());
  const Client three(native, mounted());
  std::mt19937 random(30);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    const std::array hows{LOCK_SH, LOCK_EX, LOCK_UN};
    const Call call{Call::What::kFlock, 0, hows[random() % 3], 0, 0};
    const Client& who = *std::array{&one, &two, &three}[random() % 3];
    const Answers answers = who.call(call);
    ASSERT_EQ(answers[0], answers[1]) << i;
    refused += answers[0].error == EAGAIN ? 1 : 0;
  }
  EXPECT_GT(refused, 50);
}

TEST_P(RemoteLocks, SixtyFourWaitersHoldNobodyUp) {
  constexpr int kWaiters = 64;
  const UniqueFd native = open_source();
  ASSERT_EQ(set_range(native.get(), F_WRLCK), 0);
  const auto lock_and_unlock = [](int fd) {
    const int result = set_range(fd, F_WRLCK, 0, 0, F_SETLKW);
    return result != 0 ? result : set_range(fd, F_UNLCK);
  };
  std::vector<Process> waiters;
  for (int i = 0; i < kWaiters; ++i) waiters.push_back(start_waiter(lock_and_unlock));
  await_waits(kWaiters);
  expect_others_served();
  EXPECT_EQ(*granted_, 0);
  ASSERT_EQ(set_range(native.get(), F_UNLCK), 0);
  for (Process& waiter : waiters) EXPECT_EQ(waiter.wait(seconds(20)), kExitOk);
  EXPECT_EQ(*granted_, kWaiters);
}

TEST_P(RemoteLocks, TheHoldersUnlockIsServedAtOnce) {
  constexpr int kWaiters = 64;
  const SharedCount go;
  Process holder = start([&](int fd) {
    if (const int result = set_range(fd, F_WRLCK); result != 0) return result;
    ++*granted_;
    if (!eventually([&] { return *go == 1; }, at_pace(seconds(20)))) return 255;
    const auto begin = std::chrono::steady_clock::now();
    const int result = set_range(fd, F_UNLCK);
    if (std::chrono::steady_clock::now() - begin > at_pace(seconds(2))) return 254;
    // Stays, so that it is the UNLOCK and not the end that gives way.
    return eventually([&] { return *granted_ == 1 + kWaiters; }, at_pace(seconds(20))) ? result
                                                                                       : 253;
  });
  ASSERT_TRUE(eventually([&] { return *granted_ == 1; }));
  std::vector<Process> waiters;
  for (int i = 0; i < kWaiters; ++i) {
    waiters.push_back(start_waiter([](int fd) { return set_range(fd, F_WRLCK, 0, 0, F_SETLKW); }));
  }
  await_waits(kWaiters);
  expect_others_served();
  ++*go;
  for (Process& waiter : waiters) EXPECT_EQ(waiter.wait(seconds(20)), kExitOk);
  EXPECT_EQ(holder.wait(seconds(20)), kExitOk);
}

TEST_P(RemoteLocks, ASignalEndsAWait) {
  const UniqueFd native = open_source();
  ASSERT_EQ(set_range(native.get(), F_WRLCK), 0);
  ASSERT_EQ(flock_now(native.get(), LOCK_EX), 0);
  const auto with_handler = [](const std::function<int(int)>& wait) {
    return [wait](int fd) {
      struct ::sigaction action {};
      action.sa_handler = [](int) {};  // and no SA_RESTART
      ::sigaction(SIGUSR2, &action, nullptr);
      return wait(fd);
    };
  };
  const auto range_wait = [](int fd) { return set_range(fd, F_WRLCK, 0, 0, F_SETLKW); };
  std::vector<Process> waiters;
  waiters.push_back(start_waiter(with_handler(range_wait)));
  waiters.push_back(
      start_waiter(with_handler([](int fd) { return result_of(::flock(fd, LOCK_EX)); })));
  await_waits(2);
  for (Process& waiter : waiters) {
    EXPECT_TRUE(waiter.running());
    waiter.signal(SIGUSR2);
    EXPECT_EQ(waiter.wait(seconds(20)), (Exit{EINTR, 0}));
  }
  Process killed = start_waiter(range_wait);
  await_waits(3);
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.wait(seconds(20)), (Exit{-1, SIGKILL}));
  EXPECT_EQ(*granted_, 0);
  ASSERT_EQ(set_range(native.get(), F_UNLCK), 0);
  EXPECT_EQ(ask([](int fd) { return set_range(fd, F_WRLCK); }), 0) << "no dead waiter has it";
}

TEST_P(RemoteLocks, ACircleIsToldToWhoClosesIt) {
  const SharedCount go;
  Process first = start([&](int fd) {
    if (set_range(fd, F_WRLCK, 0, 1) != 0) return 254;
    ++*granted_;
    if (!eventually([&] { return *granted_ == 2; })) return 253;
    return set_range(fd, F_WRLCK, 1, 1, F_SETLKW);
  });
  Process second = start([&](int fd) {
    if (set_range(fd, F_WRLCK, 1, 1) != 0) return 254;
    ++*granted_;
    if (!eventually([&] { return *go == 1; })) return 253;
    return set_range(fd, F_WRLCK, 0, 1, F_SETLKW);
  });
  await_waits(1);
  ++*go;
  EXPECT_EQ(second.wait(seconds(20)), (Exit{EDEADLK, 0}));
  EXPECT_EQ(first.wait(seconds(20)), kExitOk);
}

TEST_P(RemoteLocks, AWaiterDoesNotKeepTheMountFromEnding) {
  const UniqueFd native = open_source();
  ASSERT_EQ(set_range(native.get(), F_WRLCK), 0);
  Process waiter = start_waiter([](int fd) { return set_range(fd, F_WRLCK, 0, 0, F_SETLKW); });
  await_waits(1);
  mount_->expect_line("detaching it");
  EXPECT_EQ(mount_->end(Mounted::How::kTerminate, seconds(30)), kExitOk);
  EXPECT_EQ(waiter.wait(seconds(20)), (Exit{ENOLCK, 0}));
}

INSTANTIATE_TEST_SUITE_P(, RemoteLocks, ::testing::Values(Metadata::kInline, Metadata::kNested),
                         [](const auto& instance) {
                           return instance.param == Metadata::kInline ? "Inline" : "Nested";
                         });

TEST(LocalLocks, StayInTheMount) {
  OURO_REQUIRE(has_root());
  Mounted mount;
  EXPECT_EQ(mount.served("locks"), "local");
  make_file(mount.source() / "file", "content");
  const UniqueFd native(::open((mount.source() / "file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(set_range(native.get(), F_WRLCK), 0);
  ASSERT_EQ(flock_now(native.get(), LOCK_EX), 0);
  in_child(Who::kRoot, [&] {
    const UniqueFd fd(::open((mount.path() / "file").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(set_range(fd.get(), F_WRLCK), 0);
    EXPECT_EQ(flock_now(fd.get(), LOCK_EX), 0);
    // Within the mount they exclude.
    Process other = Process::run(Who::kRoot, [&] {
      const UniqueFd another(::open((mount.path() / "file").c_str(), O_RDWR | O_CLOEXEC));
      return set_range(another.get(), F_WRLCK) == EAGAIN &&
                     flock_now(another.get(), LOCK_EX) == EAGAIN
                 ? 0
                 : 1;
    });
    EXPECT_EQ(other.wait(seconds(20)), kExitOk);
  });
  const Statistics statistics = mount.statistics();
  for (const char* name : {"request.GETLK", "request.SETLK", "request.SETLKW", "lock_waits"}) {
    EXPECT_EQ(statistics[name], 0U) << name;
  }
}

}  // namespace
}  // namespace ouro::testing
