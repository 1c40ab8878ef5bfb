#include "tests/support/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kCannotStart = 127;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  ::_exit(kCannotStart);
}

// KERNEL: the signal of a dead parent is forgotten when the identity changes, so that comes first.
void become(Who who) {
  if (who == Who::kPlainUser && ::geteuid() == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kPlainUid, kPlainUid, kPlainUid) != 0 ||
        ::setresuid(kPlainUid, kPlainUid, kPlainUid) != 0) {
      give_up("become a plain user");
    }
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Without it /proc/self belongs to root after the change.
  ::prctl(PR_SET_DUMPABLE, 1);
}

[[noreturn]] void become_program(const Command& command) {
  if (!command.output.empty()) {
    const int output = ::open(command.output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (output < 0) give_up(command.output.c_str());
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::close(output);
  }
  if (!command.directory.empty() && ::chdir(command.directory.c_str()) != 0) {
    give_up(command.directory.c_str());
  }
  if (command.before_exec) command.before_exec();
  become(command.who);
  std::vector<char*> arguments;
  for (const std::string& argument : command.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  give_up(arguments[0]);
}

// Of the running test so far; a child begins with those of its parent.
int failures() {
  const ::testing::TestResult& result =
      *::testing::UnitTest::GetInstance()->current_test_info()->result();
  int count = 0;
  for (int i = 0; i < result.total_part_count(); ++i) {
    if (result.GetTestPartResult(i).failed()) ++count;
  }
  return count;
}

pid_t fork_or_throw() {
  std::fflush(nullptr);  // or the child would print it again
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  return child;
}

}  // namespace

std::string Exit::text() const {
  return signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(code);
}

Process Process::start(const Command& command) {
  const pid_t child = fork_or_throw();
  if (child == 0) become_program(command);
  return Process(child);
}

Process Process::run(Who who, const std::function<int()>& body) {
  const pid_t child = fork_or_throw();
  if (child == 0) {
    become(who);
    int code = kCannotStart;
    try {
      code = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "uncaught exception: %s\n", error.what());
    }
    std::fflush(nullptr);
    ::_exit(code);
  }
  return Process(child);
}

Process::~Process() {
  if (pid_ < 0 || exit_) return;
  signal(SIGKILL);
  static_cast<void>(wait(std::chrono::seconds(10)));
}

std::optional<Exit> Process::wait(milliseconds limit) {
  if (exit_) return exit_;
  const loop::UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  const auto deadline = steady_clock::now() + limit;
  pollfd ended{handle.get(), POLLIN, 0};
  int ready = 0;
  do {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    ready = ::poll(&ended, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_ = WIFEXITED(status) ? Exit{WEXITSTATUS(status), 0} : Exit{-1, WTERMSIG(status)};
  return exit_;
}

void Process::signal(int number) const {
  if (pid_ > 0 && !exit_) ::kill(pid_, number);
}

Output run_command(Command command, milliseconds limit) {
  const loop::UniqueFd file(::memfd_create("output", MFD_CLOEXEC));
  // Opened anew by the child, which has become nobody else by then.
  command.output = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file.get());
  Process process = Process::start(command);
  auto exit = process.wait(limit);
  if (!exit) {
    process.signal(SIGKILL);
    exit = process.wait(std::chrono::seconds(10));
    ADD_FAILURE() << command.arguments[0] << " did not end in time and was killed";
  }
  return {exit.value_or(Exit{}), read_file(command.output)};
}

void in_child(Who who, const std::function<void()>& body, milliseconds limit) {
  const int before = failures();
  Process child = Process::run(who, [&] {
    body();
    return failures() > before ? 1 : 0;
  });
  limit = at_pace(limit);
  auto exit = child.wait(limit);
  if (!exit) {
    child.signal(SIGKILL);
    ADD_FAILURE() << "hangs: killed after " << limit.count() << " ms";
    return;
  }
  EXPECT_EQ(*exit, kExitOk) << exit->text() << " in a child, see above";
}

milliseconds at_pace(milliseconds limit) {
  return OURO_SANITIZED ? limit * 5 : limit;
}

bool eventually(const std::function<bool()>& condition, milliseconds limit) {
  const auto deadline = steady_clock::now() + at_pace(limit);
  while (!condition()) {
    if (steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

std::string read_file(const std::filesystem::path& path) {
  // A file of /proc may lose its process in the midst, which iterators throw; this does not.
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace ouro::testing
