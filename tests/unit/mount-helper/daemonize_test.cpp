#include "mount-helper/daemonize.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::mount_helper {
namespace {

// Runs `body` in a child as a program would run, and keeps what it and its own children say.
class Program {
 public:
  explicit Program(const std::function<int()>& body) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    said_ = loop::UniqueFd(ends[0]);
    loop::UniqueFd say(ends[1]);
    pid_ = ::fork();
    if (pid_ != 0) return;
    say_fd = say.get();
    ::dup2(say.get(), STDERR_FILENO);
    ::_exit(body());
  }
  ~Program() {
    if (pid_ > 0) static_cast<void>(exit_status());
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  Program(Program&&) = delete;
  Program& operator=(Program&&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The wait status of the process that the user started.
  int exit_status() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  int exit_code() {
    const int status = exit_status();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  // Everything said until the last process of the program has ended.
  [[nodiscard]] std::string all_said() const {
    std::string text;
    std::array<char, 256> block{};
    ssize_t length = 0;
    while ((length = ::read(said_.get(), block.data(), block.size())) > 0) {
      text.append(block.data(), static_cast<std::size_t>(length));
    }
    return text;
  }
  // The next thing said, or "" when none of its processes is left.
  [[nodiscard]] std::string next_said() const {
    std::array<char, 256> block{};
    const ssize_t length = ::read(said_.get(), block.data(), block.size());
    return {block.data(), static_cast<std::size_t>(length > 0 ? length : 0)};
  }

  static void say(const std::string& text) {
    static_cast<void>(!::write(say_fd, text.data(), text.size()));
  }

 private:
  static inline int say_fd = -1;  // open in the background, too, where stderr is not
  loop::UniqueFd said_;
  pid_t pid_ = -1;
};

using Mode = Daemonizer::Mode;

TEST(Daemonizer, TheParentReturnsWhenTheChildIsReadyNotBefore) {
  std::array<int, 2> gate{};
  ASSERT_EQ(::pipe(gate.data()), 0);
  Program program([&] {
    auto daemon = Daemonizer::start(Mode::kBackground);
    char byte = 0;
    static_cast<void>(!::read(gate[0], &byte, 1));
    daemon->ready();
    Program::say("served");
    return 7;
  });
  int status = 0;
  ::usleep(50'000);
  EXPECT_EQ(::waitpid(program.pid(), &status, WNOHANG), 0) << "it did not wait";
  EXPECT_EQ(::write(gate[1], "", 1), 1);
  EXPECT_EQ(program.exit_code(), 0);
  ::close(gate[0]);
  ::close(gate[1]);
  EXPECT_EQ(program.all_said(), "served");
}

TEST(Daemonizer, TheParentExitsWithTheCodeOfAChildThatFailed) {
  Program program([] {
    const auto daemon = Daemonizer::start(Mode::kBackground);
    Program::say("ourofs: no");
    return 32;
  });
  EXPECT_EQ(program.exit_code(), 32);
  EXPECT_EQ(program.all_said(), "ourofs: no");
}

TEST(Daemonizer, AChildThatEndsWithoutAWordIsASystemError) {
  Program program([] {
    const auto daemon = Daemonizer::start(Mode::kBackground);
    return 0;
  });
  EXPECT_EQ(program.exit_code(), 2);
  EXPECT_EQ(program.all_said(), "ourofs: the serving process ended before the mount was ready\n");
}

TEST(Daemonizer, ASignalThatKillsTheChildIsNamed) {
  Program program([] {
    const auto daemon = Daemonizer::start(Mode::kBackground);
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(program.exit_code(), 2);
  EXPECT_EQ(program.all_said(),
            "ourofs: the serving process ended before the mount was ready, by signal 9\n");
}

TEST(Daemonizer, TheChildIsOnItsOwn) {
  Program program([] {
    ::umask(077);
    const pid_t session = ::getsid(0);
    auto daemon = Daemonizer::start(Mode::kBackground);
    std::array<char, 8> directory{};
    std::string facts =
        ::getcwd(directory.data(), directory.size()) != nullptr ? directory.data() : "nowhere";
    facts += ::umask(0) == 0 ? " no-umask" : " umask";
    facts += ::getsid(0) == ::getpid() && ::getsid(0) != session ? " own-session" : " session";
    Program::say(facts);
    daemon->ready();
    struct stat null {};
    ::stat("/dev/null", &null);
    for (int fd = 0; fd < 3; ++fd) {
      struct stat stdio {};
      ::fstat(fd, &stdio);
      Program::say(stdio.st_rdev == null.st_rdev ? " null" : " open");
    }
    return 0;
  });
  EXPECT_EQ(program.exit_code(), 0);
  EXPECT_EQ(program.all_said(), "/ no-umask own-session null null null");
}

TEST(Daemonizer, TheForegroundStaysWhereItIsButForDirectoryAndUmask) {
  Program program([] {
    ::umask(077);
    const pid_t pid = ::getpid();
    auto daemon = Daemonizer::start(Mode::kForeground);
    daemon->ready();
    std::array<char, 8> directory{};
    std::string facts =
        ::getcwd(directory.data(), directory.size()) != nullptr ? directory.data() : "nowhere";
    facts += ::umask(0) == 0 ? " no-umask" : " umask";
    facts += ::getpid() == pid ? " same-process" : " forked";
    static_cast<void>(!::write(STDERR_FILENO, facts.data(), facts.size()));
    return 5;
  });
  EXPECT_EQ(program.exit_code(), 5);
  EXPECT_EQ(program.all_said(), "/ no-umask same-process");
}

TEST(Daemonizer, AnInterruptWhileWaitingEndsTheChildAsWell) {
  Program program([] {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGINT);
    ::sigaddset(&signals, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    const auto daemon = Daemonizer::start(Mode::kBackground);
    Program::say("started");
    int signal = 0;
    ::sigwait(&signals, &signal);
    Program::say("got " + std::to_string(signal));
    return 0;
  });
  EXPECT_EQ(program.next_said(), "started");
  ASSERT_EQ(::kill(program.pid(), SIGINT), 0);
  EXPECT_EQ(program.exit_code(), -SIGINT);
  EXPECT_EQ(program.all_said(), "got " + std::to_string(SIGTERM));
}

TEST(Daemonizer, OnceReadyTheChildOutlivesTheParent) {
  Program program([] {
    auto daemon = Daemonizer::start(Mode::kBackground);
    daemon->ready();
    ::usleep(100'000);
    Program::say("alive");
    return 0;
  });
  EXPECT_EQ(program.exit_code(), 0);
  EXPECT_EQ(program.all_said(), "alive");
}

TEST(ForgetInheritance, OpensWhatWasClosedAndClosesWhatWasOpen) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int inherited = ::dup(0);
    const int high = ::fcntl(0, F_DUPFD, 200);
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    ::signal(SIGCHLD, SIG_IGN);
    forget_inheritance();
    bool good = inherited > 2 && high >= 200;
    for (int fd = 0; fd < 3; ++fd) good = good && ::fcntl(fd, F_GETFD) >= 0;
    for (const int fd : {inherited, high}) good = good && ::fcntl(fd, F_GETFD) < 0;
    good = good && ::signal(SIGCHLD, SIG_DFL) == SIG_DFL;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace ouro::mount_helper
