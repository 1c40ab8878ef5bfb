// A FUSE mount of the real kernel without a server, in a mount namespace of its own, for what a
// FakeKernel cannot imitate. Needs root. The namespace is the calling thread's, and that of the
// threads and processes it starts meanwhile.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "loop/unique_fd.hpp"
#include "tests/support/temp_dir.hpp"

namespace ouro::fs {

class KernelMount {
 public:
  // Why there cannot be one; empty if there can.
  [[nodiscard]] static std::string missing();
  // The same for FUSE-over-io_uring, which this switches on for all mounts made from then on.
  [[nodiscard]] static std::string missing_over_uring();

  KernelMount();
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;
  ~KernelMount();

  // The server's end, non-blocking, and the way in for clients.
  [[nodiscard]] int channel() const { return channel_.get(); }
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "mount"; }

  void unmount();
  // Ends the connection by way of fusectl.
  void abort();

 private:
  loop::UniqueFd home_namespace_;
  testing::TempDir directory_;
  loop::UniqueFd channel_;
  bool mounted_ = false;
};

// A process that uses the mount, so that nothing of the test itself can hang in it.
class Client {
 public:
  // Runs `body` in a child; what it returns is the child's exit code.
  explicit Client(const std::function<int()>& body);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The exit code, or the negative number of the signal that ended it; nothing while it runs.
  [[nodiscard]] std::optional<int> outcome();

 private:
  pid_t pid_;
  std::optional<int> outcome_;
};

}  // namespace ouro::fs
