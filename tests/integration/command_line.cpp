#include "tests/integration/command_line.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

namespace ouro::testing {

Playground::Playground(Who who) : who_(who) {
  const uid_t owner = who == Who::kPlainUser ? kPlainUid : ::getuid();
  for (const std::filesystem::path& directory : {source(), mount()}) {
    std::filesystem::create_directory(directory);
    EXPECT_EQ(::chown(directory.c_str(), owner, owner), 0);
  }
}

Playground::~Playground() {
  for (const std::filesystem::path& directory : {mount(), source()}) {
    if (!is_mountpoint(directory)) continue;
    abort_connection(directory);
    ::umount2(directory.c_str(), MNT_DETACH);
  }
}

Output Playground::ourofs(std::vector<std::string> arguments,
                          std::function<void()> before_exec) const {
  arguments.insert(arguments.begin(), ourofs_program());
  return run_command({.arguments = std::move(arguments),
                      .who = who_,
                      .directory = path(),
                      .before_exec = std::move(before_exec)});
}

void Playground::unmount(const std::filesystem::path& path) const {
  EXPECT_TRUE(eventually([&] { return ::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0; }))
      << path << ": " << std::strerror(errno);
  EXPECT_TRUE(eventually([] { return processes_named("ourofs").empty(); })) << "it goes on";
}

std::vector<pid_t> processes_named(const std::string& name) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string number = entry.path().filename();
    if (!std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; })) continue;
    if (read_file(entry.path() / "comm") == name + "\n") found.push_back(std::stoi(number));
  }
  return found;
}

}  // namespace ouro::testing
