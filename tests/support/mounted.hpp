// A directory that the real ourofs serves, for the time of a test: made, watched and taken down.
// It reads what the program says, knows the counters by which a test proves what was really active,
// and collects everything that must not have happened (complaints).
// Threads: one. The test program itself never touches the mount: children do (process.hpp), so
// that a mount which hangs can be ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::testing {

// The counters of the program's lines "statistics: loop=N ... name=value", summed over the loops.
class Statistics {
 public:
  // Adds up a line; false if it is none.
  bool add(const std::string& line);
  [[nodiscard]] std::size_t loops() const { return loops_; }
  // Throws std::out_of_range for a name that the program did not print; requests that never came
  // ("request.X") are 0.
  [[nodiscard]] std::uint64_t operator[](const std::string& name) const;
  // Requests that get a reply: all but FORGET, BATCH_FORGET and INTERRUPT.
  [[nodiscard]] std::uint64_t replied() const;
  [[nodiscard]] std::string text() const;

 private:
  std::map<std::string, std::uint64_t> values_;
  std::size_t loops_ = 0;
};

struct MountPlan {
  std::vector<std::string> options = {};   // as on the command line, -f is added
  Who who = Who::kRoot;                    // runs the program
  std::filesystem::path source = {};       // empty: a fresh directory
  std::filesystem::path mountpoint = {};   // empty: a fresh directory
  std::vector<std::string> expected = {};  // parts of lines that are no reason to complain
  std::function<void()> before_exec = {};  // in the program's process, still as the test's user
};

class Mounted {
 public:
  static constexpr std::chrono::seconds kPatience{20};

  // Returns when the program serves; throws std::runtime_error with what it said if it does not.
  explicit Mounted(MountPlan plan = {});
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  // Ends it like end(), and turns complaints into failures of the test.
  ~Mounted();

  [[nodiscard]] const std::filesystem::path& source() const { return plan_.source; }
  [[nodiscard]] const std::filesystem::path& path() const { return plan_.mountpoint; }
  // A fresh directory on the file system of the source, where the same can be done natively.
  [[nodiscard]] std::filesystem::path native() const;
  [[nodiscard]] pid_t pid() const { return program_->pid(); }
  [[nodiscard]] Who who() const { return plan_.who; }
  // A word of the line "serving ... key=value ...".
  [[nodiscard]] std::string served(const std::string& key) const;
  [[nodiscard]] std::string log() const { return read_file(log_path_); }
  // More that is no reason to complain.
  void expect_line(std::string part) { plan_.expected.push_back(std::move(part)); }

  // Asks the running program (SIGUSR1).
  [[nodiscard]] Statistics statistics();
  // What it said when it ended.
  [[nodiscard]] Statistics final_statistics() const;

  enum class How : std::uint8_t { kUmount, kTerminate, kWait };
  // Unmounts (or sends SIGTERM, or only waits) and waits for the program to end. Nothing if it had
  // to be killed, which is a complaint as well.
  std::optional<Exit> end(How how = How::kUmount,
                          std::chrono::milliseconds limit = std::chrono::seconds(15));
  // The exit that end() and the destructor insist on; 0 unless told otherwise.
  void expect_exit(Exit exit) { expected_exit_ = exit; }
  [[nodiscard]] bool running() { return program_ && program_->running(); }
  void signal(int number) const;

  // Everything that went wrong outside of the test's own sight: lines that were not expected,
  // reports of sanitizers, a wrong exit, a mount that is left.
  [[nodiscard]] std::vector<std::string> complaints() const;

 private:
  void make_directories();
  void await_serving();
  void kill();
  [[nodiscard]] std::vector<std::string> lines(const std::string& prefix) const;

  MountPlan plan_;
  TempDir home_;
  std::unique_ptr<TempDir> native_;
  std::filesystem::path log_path_;
  std::string serving_;
  std::optional<Process> program_;
  Exit expected_exit_ = kExitOk;
  std::optional<Exit> exit_;
  std::vector<std::string> complaints_;
};

// Whether anything is mounted exactly there, by the table of mounts; asks no file system.
[[nodiscard]] bool is_mountpoint(const std::filesystem::path& path);
// What is mounted exactly there, as in mountinfo: "0:52". Empty if nothing is; asks no file system.
[[nodiscard]] std::string device_of_mount(const std::filesystem::path& path);
// Ends the FUSE connection of what is mounted there, as root.
void abort_connection(const std::filesystem::path& mountpoint);
// How many requests of the mount there have begun and not ended, whoever has them.
[[nodiscard]] std::size_t requests_in_flight(const std::filesystem::path& mountpoint);
// The program under test.
[[nodiscard]] std::string ourofs_program();

}  // namespace ouro::testing
