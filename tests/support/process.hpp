// Child processes of tests: programs, and bodies that are forked off so that a system call which
// hangs, or a change of identity, stays theirs. Every wait has a limit.
// Threads: fork from the one thread of a test program.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace ouro::testing {

// Whom a process acts as. The plain user has no groups and no capabilities.
enum class Who : std::uint8_t { kRoot, kPlainUser };
inline constexpr uid_t kPlainUid = 65534;

struct Exit {
  int code = -1;   // -1: ended by a signal
  int signal = 0;  // 0: ended by itself

  [[nodiscard]] std::string text() const;
  friend bool operator==(const Exit&, const Exit&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Exit& exit) {
    return out << exit.text();
  }
};
inline constexpr Exit kExitOk{0, 0};

struct Command {
  std::vector<std::string> arguments;  // the program first, looked for in $PATH
  Who who = Who::kRoot;
  std::filesystem::path output = {};       // stdout and stderr are appended to it; empty: inherited
  std::filesystem::path directory = {};    // to be started in; empty: inherited
  std::function<void()> before_exec = {};  // in the child, before the identity changes
};

class Process {
 public:
  // Throws std::system_error if there is no fork; a program that cannot be run exits with 127.
  static Process start(const Command& command);
  // Runs `body` in a child, whose exit code it returns.
  static Process run(Who who, const std::function<int()>& body);

  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), exit_(other.exit_) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(exit_, other.exit_);
    return *this;
  }
  ~Process();  // kills what still runs

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Nothing when it still runs after that time.
  [[nodiscard]] std::optional<Exit> wait(std::chrono::milliseconds limit);
  [[nodiscard]] bool running() { return !wait(std::chrono::milliseconds(0)); }
  void signal(int number) const;

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<Exit> exit_;
};

struct Output {
  Exit exit;
  std::string text;  // stdout and stderr
};

// Runs a program to its end, or kills it when the time is over.
Output run_command(Command command, std::chrono::milliseconds limit = std::chrono::seconds(60));

// Runs `body` in a child. Google Test failures in it are printed there and fail the test here, and
// so does the end of the time.
void in_child(Who who, const std::function<void()>& body,
              std::chrono::milliseconds limit = std::chrono::seconds(60));

// `limit` as it is for a program that a sanitizer slows down.
std::chrono::milliseconds at_pace(std::chrono::milliseconds limit);

// Polls every millisecond or so; false when the time is over.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds limit = std::chrono::seconds(10));

// The whole of a file; what cannot be read is empty.
std::string read_file(const std::filesystem::path& path);

}  // namespace ouro::testing
