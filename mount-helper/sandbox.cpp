#include "mount-helper/sandbox.hpp"

#include <unistd.h>

#include "mount-helper/call_filter.hpp"
#include "mount-helper/failure.hpp"
#include "mount-helper/privileges.hpp"

namespace ouro::mount_helper {
namespace {

std::string capability_names() {
  std::string names;
  for (const Capability& capability : serving_capabilities()) {
    names.append(names.empty() ? "" : ",").append(capability.name);
  }
  return names;
}

}  // namespace

Sandbox::Sandbox(SandboxMode mode, Log& log)
    : wanted_(mode == SandboxMode::kSeccomp), is_root_(::geteuid() == 0), log_(log) {}

void Sandbox::reduce_privileges() {
  if (!wanted_ || !is_root_) return;
  note("bounding_set", reduce_bounding_set());
  note("capabilities=" + capability_names(), reduce_capabilities());
  note("no_new_privs", refuse_new_privileges());
  note("not_dumpable", refuse_dumps());
}

void Sandbox::filter_calls(const std::vector<unsigned long>& ioctls) {
  if (!wanted_) return;
  // Of a plain user's not before: fusermount3 had to mount.
  if (!is_root_) note("no_new_privs", refuse_new_privileges());
  note("seccomp", mount_helper::filter_calls(ioctls));
}

void Sandbox::note(std::string_view part, const loop::Status& applied) {
  if (applied) {
    parts_.emplace_back(part);
    return;
  }
  log_.write(loop::LogLevel::kWarning,
             "sandbox: without " + std::string(part) + ": " + errno_text(applied.error().value()));
}

void Sandbox::report() const {
  std::string line = "sandbox:";
  for (const std::string& part : parts_) line += " " + part;
  if (!wanted_) line += " none, as was asked for";
  log_.write(loop::LogLevel::kInfo, line);
}

std::string sandbox_text() {
  return "libseccomp " + libseccomp_version() + "\nsandbox as root: capabilities " +
         capability_names() +
         "; not dumpable\nsandbox in any case: no new privileges; seccomp filter; restricted rings";
}

}  // namespace ouro::mount_helper
