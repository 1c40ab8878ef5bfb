// A caller that exists, for what is looked up in /proc.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

// A process that is really that caller, with a supplementary group; it ends with the object.
class RealCaller {
 public:
  static constexpr uid_t kUid = 1001;
  static constexpr gid_t kGid = 1002;
  static constexpr gid_t kMemberOf = 1234;

  // Runs `work` as the caller, in a process of its own, and then stays until the end.
  explicit RealCaller(const std::function<void()>& work = [] {}) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    int leave[2];
    EXPECT_EQ(::pipe2(leave, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(leave[1]);
      char byte = 0;
      const bool is_caller = ::setgroups(1, &kMemberOf) == 0 &&
                             ::setresgid(kGid, kGid, kGid) == 0 &&
                             ::setresuid(kUid, kUid, kUid) == 0;
      if (is_caller) work();
      if (is_caller && ::write(ready[1], &byte, 1) == 1) (void)!::read(leave[0], &byte, 1);
      ::_exit(0);
    }
    leave_.reset(leave[1]);
    ::close(leave[0]);
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the caller could not be made";
    ::close(ready[0]);
  }
  RealCaller(const RealCaller&) = delete;
  RealCaller& operator=(const RealCaller&) = delete;
  ~RealCaller() {
    leave_.reset();
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  }

  [[nodiscard]] Caller caller() const {
    return {.uid = kUid, .gid = kGid, .pid = pid_, .extra_group = {}};
  }

 private:
  loop::UniqueFd leave_;
  pid_t pid_ = -1;
};

}  // namespace ouro::passthrough
