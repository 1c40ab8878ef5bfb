#include "mount-helper/log.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "own_namespace.hpp"

namespace ouro::mount_helper {
namespace {

using loop::LogLevel;
using loop::UniqueFd;

// stderr is `fd` for the rest of the scope.
class Stderr {
 public:
  explicit Stderr(int fd) : saved_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    if (fd >= 0) {
      ::dup2(fd, STDERR_FILENO);
    } else {
      ::close(STDERR_FILENO);
    }
  }
  ~Stderr() { ::dup2(saved_.get(), STDERR_FILENO); }
  Stderr(const Stderr&) = delete;
  Stderr& operator=(const Stderr&) = delete;
  Stderr(Stderr&&) = delete;
  Stderr& operator=(Stderr&&) = delete;

 private:
  UniqueFd saved_;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
  }
  std::string read_some() const {
    std::string text(1U << 16U, '\0');
    const ssize_t length = ::read(read_end.get(), text.data(), text.size());
    text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return text;
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

TEST(Log, WritesOneLineAMessage) {
  const Pipe pipe;
  Log log(LogLevel::kDebug);
  {
    const Stderr redirected(pipe.write_end.get());
    log.write(LogLevel::kError, "it broke");
    log.write(LogLevel::kWarning, "careful");
    log.write(LogLevel::kInfo, "serving {} %s");
    log.sink()(LogLevel::kDebug, "two\nlines\x1b[1m");
  }
  EXPECT_EQ(pipe.read_some(),
            "ourofs: it broke\nourofs: warning: careful\nourofs: serving {} %s\n"
            "ourofs: debug: two?lines?[1m\n");
  EXPECT_EQ(log.dropped_lines(), 0U);
}

TEST(Log, KeepsToItsLevel) {
  const Pipe pipe;
  Log log(LogLevel::kWarning);
  {
    const Stderr redirected(pipe.write_end.get());
    log.write(LogLevel::kDebug, "d");
    log.write(LogLevel::kInfo, "i");
    log.write(LogLevel::kWarning, "w");
    log.write(LogLevel::kError, "e");
  }
  EXPECT_EQ(pipe.read_some(), "ourofs: warning: w\nourofs: e\n");
}

TEST(Log, AFullPipeLosesLinesButNeitherTimeNorTheCount) {
  const Pipe pipe;
  Log log(LogLevel::kInfo);
  const Stderr redirected(pipe.write_end.get());
  const std::string line(1000, 'x');
  for (int i = 0; i < 200; ++i) log.write(LogLevel::kInfo, line);
  const std::uint64_t dropped = log.dropped_lines();
  EXPECT_GT(dropped, 0U);
  EXPECT_LT(dropped, 200U);
  static_cast<void>(pipe.read_some());
  log.write(LogLevel::kInfo, "back");
  EXPECT_EQ(pipe.read_some(), "ourofs: warning: " + std::to_string(dropped) +
                                  " lines of this log were lost\nourofs: back\n");
  log.write(LogLevel::kInfo, "again");
  EXPECT_EQ(pipe.read_some(), "ourofs: again\n") << "the loss is told once";
}

TEST(Log, AVeryLongLineIsCut) {
  const Pipe pipe;
  Log log(LogLevel::kInfo);
  const Stderr redirected(pipe.write_end.get());
  log.write(LogLevel::kInfo, std::string(100'000, 'x'));
  const std::string text = pipe.read_some();
  EXPECT_LE(text.size(), 4096U);
  EXPECT_EQ(text.back(), '\n');
}

TEST(Log, SurvivesWhatStderrCanBe) {
  ASSERT_NE(::signal(SIGPIPE, SIG_IGN), SIG_ERR);
  Log log(LogLevel::kInfo);
  {
    const Stderr closed(-1);
    log.write(LogLevel::kInfo, "nobody");
  }
  EXPECT_EQ(log.dropped_lines(), 1U);
  {
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    const Stderr redirected(full.get());
    log.write(LogLevel::kInfo, "nobody");
  }
  EXPECT_GE(log.dropped_lines(), 2U);
  Pipe pipe;
  pipe.read_end.reset();
  {
    const Stderr redirected(pipe.write_end.get());
    log.write(LogLevel::kInfo, "nobody");
  }
  EXPECT_GE(log.dropped_lines(), 3U);
  ::signal(SIGPIPE, SIG_DFL);
}

TEST(Log, WritesToPlainFilesAndSockets) {
  Log log(LogLevel::kInfo);
  const UniqueFd file(::memfd_create("log", MFD_CLOEXEC));
  {
    const Stderr redirected(file.get());
    log.write(LogLevel::kInfo, "one");
    log.write(LogLevel::kInfo, "two");
  }
  std::array<char, 64> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 24);
  EXPECT_STREQ(text.data(), "ourofs: one\nourofs: two\n");

  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  {
    const Stderr redirected(ours.get());
    log.write(LogLevel::kInfo, "three");
  }
  EXPECT_EQ(::recv(theirs.get(), text.data(), text.size(), MSG_DONTWAIT), 14);
}

TEST(Log, LinesOfThreadsDoNotMix) {
  const Pipe pipe;
  Log log(LogLevel::kInfo);
  constexpr std::size_t kLines = 100;
  {
    const Stderr redirected(pipe.write_end.get());
    const auto sink = log.sink();
    std::vector<std::thread> threads;
    for (const char* text : {"aaaaaaaaaa", "bbbbbbbbbb"}) {
      threads.emplace_back([&sink, text] {
        for (std::size_t i = 0; i < kLines; ++i) sink(LogLevel::kInfo, text);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const std::string text = pipe.read_some();
  const std::size_t length = std::strlen("ourofs: aaaaaaaaaa\n");
  ASSERT_EQ(text.size(), 2 * kLines * length);
  for (std::size_t i = 0; i < text.size(); i += length) {
    const std::string line = text.substr(i, length);
    EXPECT_TRUE(line == "ourofs: aaaaaaaaaa\n" || line == "ourofs: bbbbbbbbbb\n") << line;
  }
}

// A syslog daemon of our own, under a /dev of our own.
class Syslog : public OwnNamespace {
 protected:
  void SetUp() override {
    OwnNamespace::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_EQ(::mount("none", "/dev", "tmpfs", 0, nullptr), 0);
  }
  void listen() {
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "/dev/log");
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
  }
  std::string received() {
    std::array<char, 8192> text{};
    const ssize_t length = ::recv(socket_.get(), text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(length > 0 ? length : 0)};
  }
  UniqueFd socket_;
};

TEST_F(Syslog, GetsEveryLineInTheBackground) {
  listen();
  const Pipe pipe;
  const Stderr redirected(pipe.write_end.get());
  Log log(LogLevel::kInfo);
  log.write(LogLevel::kInfo, "still here");
  log.use_syslog();
  log.write(LogLevel::kError, "broken");
  log.write(LogLevel::kWarning, "careful");
  EXPECT_EQ(pipe.read_some(), "ourofs: still here\n");
  const std::string name = "ourofs[" + std::to_string(::getpid()) + "]: ";
  EXPECT_EQ(received(), "<27>" + name + "broken");
  EXPECT_EQ(received(), "<28>" + name + "warning: careful");
}

TEST_F(Syslog, ThatDoesNotReadIsNotWaitedFor) {
  listen();
  Log log(LogLevel::kInfo);
  log.use_syslog();
  for (int i = 0; i < 10'000; ++i) log.write(LogLevel::kInfo, "flood");
  EXPECT_GT(log.dropped_lines(), 0U);
  while (!received().empty()) {
  }
  log.write(LogLevel::kInfo, "back");
  EXPECT_NE(received().find("lines of this log were lost"), std::string::npos);
  EXPECT_NE(received().find("back"), std::string::npos);
}

TEST_F(Syslog, ThatIsNotThereIsNotMissed) {
  Log log(LogLevel::kInfo);
  log.use_syslog();
  log.write(LogLevel::kInfo, "nobody");
  EXPECT_EQ(log.dropped_lines(), 1U);
}

}  // namespace
}  // namespace ouro::mount_helper
