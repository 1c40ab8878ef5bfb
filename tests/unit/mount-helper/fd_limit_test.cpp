#include "mount-helper/fd_limit.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

// Limits cannot be given back by a plain user, so every test spends a process on them.
int exit_code_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void become_plain_user_with(rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (::geteuid() == 0) static_cast<void>(!::setresuid(65534, 65534, 65534));
}

TEST(FdLimit, GoesToTheHardLimit) {
  EXPECT_EQ(exit_code_of([] {
              become_plain_user_with(1'100, 1'200);
              const auto limit = raise_fd_limit();
              rlimit now{};
              ::getrlimit(RLIMIT_NOFILE, &now);
              return limit && *limit == 1'200 && now.rlim_cur == 1'200 ? 0 : 1;
            }),
            0);
}

TEST(FdLimit, TooFewAreRefusedWithTheNumberThatIsNeeded) {
  EXPECT_EQ(exit_code_of([] {
              become_plain_user_with(64, 1'023);
              const auto limit = raise_fd_limit();
              if (limit) return 1;
              return limit.error() == Failure{ExitCode::kSystem,
                                              "the limit of open files is 1023, at least 1024 are "
                                              "needed",
                                              "raise the hard limit: 'ulimit -Hn', or nofile in "
                                              "/etc/security/limits.conf"}
                         ? 0
                         : 2;
            }),
            0);
}

TEST(FdLimit, TheMinimumWillDo) {
  EXPECT_EQ(exit_code_of([] {
              become_plain_user_with(10, 1'024);
              const auto limit = raise_fd_limit();
              return limit && *limit == 1'024 ? 0 : 1;
            }),
            0);
}

TEST(FdLimit, RootGoesBeyondTheHardLimit) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, whose limits are no limits";
  const auto lower_and_raise_again = [] {
    const rlimit low{32, 32};
    const rlimit high{4096, 4096};
    ::setrlimit(RLIMIT_NOFILE, &low);
    return ::setrlimit(RLIMIT_NOFILE, &high) == 0 ? 0 : 1;
  };
  if (exit_code_of(lower_and_raise_again) != 0) GTEST_SKIP() << "root lacks CAP_SYS_RESOURCE here";
  EXPECT_EQ(exit_code_of([] {
              const rlimit low{32, 32};
              ::setrlimit(RLIMIT_NOFILE, &low);
              const auto limit = raise_fd_limit();
              return limit && *limit > 10'000 ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace ouro::mount_helper
