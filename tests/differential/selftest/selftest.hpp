// What the selftest files share: calls from text, and a pair of native directories to run on.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/differential/call.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/shrink.hpp"
#include "tests/differential/worker.hpp"

namespace ouro::differential {

inline const std::vector<std::string> kNames{"root", "u1001", "u1002"};

inline Call make_call(const std::string& line) {
  auto call = parse_call(line, kNames);
  if (!call) ADD_FAILURE() << "this is no call: " << line;
  return call.value_or(Call{});
}

inline Calls make_calls(const std::vector<std::string>& lines) {
  Calls calls;
  for (const std::string& line : lines) calls.push_back(make_call(line));
  return calls;
}

inline std::vector<std::string> lines_of(const Calls& calls) {
  std::vector<std::string> lines;
  for (const Call& call : calls) lines.push_back(format_call(call, kNames));
  return lines;
}

// A native directory stands in for the mount, so only a lie can make a difference.
class TwoDirectories {
 public:
  TwoDirectories() {
    std::string pattern = std::filesystem::temp_directory_path() / "ouro-selftest-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
    path_ = pattern;
    std::filesystem::create_directory(path_ + "/native");
    std::filesystem::create_directory(path_ + "/mount");
  }
  TwoDirectories(const TwoDirectories&) = delete;
  TwoDirectories& operator=(const TwoDirectories&) = delete;
  ~TwoDirectories() { std::filesystem::remove_all(path_); }

  [[nodiscard]] SidePaths sides() const {
    return {path_ + "/native", path_ + "/mount", path_ + "/mount"};
  }
  // Where calls run on the side of the mount.
  [[nodiscard]] std::string mount_root() const { return path_ + "/mount/seq/a/b/c/root"; }
  [[nodiscard]] Runner::Setup setup() const {
    Runner::Setup setup;
    setup.sides = sides();
    setup.scratch_name = "seq";
    return setup;
  }

 private:
  std::string path_;
};

// Identities named as in kNames; without root only the first can be had, under that name.
inline std::unique_ptr<Workers> start_workers() {
  std::vector<Identity> identities =
      make_identities(::geteuid() == 0 ? Users::kSeveral : Users::kOne);
  identities.front().name = kNames.front();
  auto workers = Workers::create(identities, 20'000);
  if (!workers) ADD_FAILURE() << "workers cannot be started";
  return workers ? *std::move(workers) : nullptr;
}

}  // namespace ouro::differential
