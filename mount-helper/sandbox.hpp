// What the program gives up when it has what it needs to serve, and the one line that says what of
// it is in force. What cannot be had is a warning: each part is worth having without the others.
// Used by main, in this order; a capability belongs to a thread and goes before there are several,
// and the filter comes when everything is set up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loop/result.hpp"
#include "mount-helper/log.hpp"
#include "mount-helper/options.hpp"

namespace ouro::mount_helper {

class Sandbox {
 public:
  // `log` outlives it.
  Sandbox(SandboxMode mode, Log& log);

  // In the only thread, before it notes what identity it has.
  void reduce_privileges();
  // Nothing can be opened in a new way, mounted or executed from here on. `ioctls`: that serving
  // takes beside those that clients may make.
  void filter_calls(const std::vector<unsigned long>& ioctls);
  // Logs what is on.
  void report() const;

 private:
  void note(std::string_view part, const loop::Status& applied);

  const bool wanted_;
  const bool is_root_;
  Log& log_;
  std::vector<std::string> parts_;
};

// For --version: what a mount of root's is confined to.
[[nodiscard]] std::string sandbox_text();

}  // namespace ouro::mount_helper
