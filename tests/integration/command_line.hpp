// Running ourofs by its command line, as a user does, and looking at what it leaves behind.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/mounted.hpp"

namespace ouro::testing {

// A directory with "source" and "mount" in it, which belong to the user, and tools around it.
class Playground {
 public:
  explicit Playground(Who who = Who::kRoot);
  Playground(const Playground&) = delete;
  Playground& operator=(const Playground&) = delete;
  ~Playground();  // detaches what is still mounted

  [[nodiscard]] std::filesystem::path path() const { return home_.path(); }
  [[nodiscard]] std::filesystem::path source() const { return home_ / "source"; }
  [[nodiscard]] std::filesystem::path mount() const { return home_ / "mount"; }
  // In there, with these arguments; returns when the parent process does.
  [[nodiscard]] Output ourofs(std::vector<std::string> arguments,
                              std::function<void()> before_exec = {}) const;
  // Unmounts and waits for the daemon to be gone.
  void unmount(const std::filesystem::path& path) const;

 private:
  Who who_;
  TempDir home_;
};

// Processes of that name in our namespace; zombies are among them.
[[nodiscard]] std::vector<pid_t> processes_named(const std::string& name);

}  // namespace ouro::testing
