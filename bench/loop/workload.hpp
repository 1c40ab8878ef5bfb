// What the benchmarks of every loop share, so that each does the same work: descriptors, a file to
// read, and the thread at the other end of a ping-pong.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "loop/unique_fd.hpp"

namespace ouro::bench {

inline constexpr int kActiveFds = 100;
inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kDepth = 32;
inline constexpr std::size_t kFileBytes = std::size_t{16} << 20U;

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::exit(1);
}

inline void put(int fd) {
  const std::uint64_t one = 1;
  require(::write(fd, &one, sizeof one) == sizeof one, "write to an eventfd");
}

inline bool take(int fd) {
  std::uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count;
}

inline loop::UniqueFd event_fd() {
  loop::UniqueFd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  require(static_cast<bool>(fd), "eventfd");
  return fd;
}

// `idle` descriptors that never become ready, and kActiveFds that are made so in turn.
struct ManyFds {
  explicit ManyFds(std::size_t idle) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    for (std::size_t i = 0; i < idle; ++i) idle_fds.push_back(event_fd());
    for (int i = 0; i < kActiveFds; ++i) active.push_back(event_fd());
  }
  void activate() const {
    for (const loop::UniqueFd& fd : active) put(fd.get());
  }

  std::vector<loop::UniqueFd> idle_fds;
  std::vector<loop::UniqueFd> active;
};

// A thread that answers every event on `ping` by one on `pong`, by blocking reads.
class Echo {
 public:
  Echo() : thread_([this] { run(); }) {}
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;
  ~Echo() {
    stop_ = true;
    put(ping.get());
    thread_.join();
  }

  const loop::UniqueFd ping{::eventfd(0, EFD_CLOEXEC)};
  const loop::UniqueFd pong = event_fd();

 private:
  void run() const {
    while (take(ping.get()) && !stop_) put(pong.get());
  }

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A file in the page cache.
struct CachedFile {
  CachedFile() {
    std::string path = "/tmp/ouro-bench-XXXXXX";
    fd = loop::UniqueFd(::mkstemp(path.data()));
    require(static_cast<bool>(fd), "mkstemp");
    ::unlink(path.c_str());
    const std::vector<char> data(kFileBytes, 'x');
    require(::write(fd.get(), data.data(), data.size()) == static_cast<ssize_t>(data.size()),
            "write");
  }
  [[nodiscard]] std::uint64_t next_offset() {
    at = (at + kBlockBytes * 7) % kFileBytes;
    return at;
  }

  loop::UniqueFd fd;
  std::uint64_t at = 0;
};

using Buffers = std::vector<std::array<char, kBlockBytes>>;

}  // namespace ouro::bench
