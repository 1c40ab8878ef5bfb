// Identities. Each is a process of its own that has become that user for good (setgroups,
// setresgid, setresuid): nothing can leak from one identity to the next, the credentials are those
// of a real process in every hook of the kernel (and in /proc/PID/status, where a file system may
// look up groups), and record locks and umasks have separate owners. Descriptors live with the
// process, so every identity has slots of its own. Both sides of a call run in the same worker,
// the native one first. Used by the program's only thread.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "loop/result.hpp"
#include "tests/differential/call.hpp"
#include "tests/differential/channel.hpp"
#include "tests/differential/outcome.hpp"

namespace ouro::differential {

struct Identity {
  std::string name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};

enum class Users { kOne, kSeveral };

// kSeveral needs root. kOne: just whoever runs the program, named "self" (or "root").
[[nodiscard]] std::vector<Identity> make_identities(Users users);

struct BothOutcomes {
  Outcome native;
  Outcome mount;
};

class Workers {
 public:
  // Forks; call it before any thread exists. timeout_ms: how long one side may take for one call.
  static loop::Result<std::unique_ptr<Workers>> create(const std::vector<Identity>& identities,
                                                       int timeout_ms);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  // Hands out the two roots; umask 0, all slots empty.
  [[nodiscard]] loop::Status begin(int native_root, int mount_root);
  [[nodiscard]] loop::Result<BothOutcomes> execute(const Call& call);
  // Closes every slot.
  [[nodiscard]] loop::Status end();

  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  // Why the last call had no answer: "the mount side did not answer", for the message.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  struct Process {
    pid_t pid;
    std::unique_ptr<Channel> channel;
  };

  explicit Workers(int timeout_ms) : timeout_ms_(timeout_ms) {}
  [[nodiscard]] loop::Status start(const Identity& identity);
  [[nodiscard]] loop::Status command(char what, std::span<const int> fds);
  [[nodiscard]] loop::Result<Outcome> receive_outcome(Channel& channel, const char* side);

  int timeout_ms_;
  std::vector<std::string> names_;
  std::vector<Process> processes_;
  std::string trouble_;
};

}  // namespace ouro::differential
