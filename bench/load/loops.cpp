#include "bench/load/loops.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "loop/unique_fd.hpp"

namespace ouro::bench {
namespace {

using Clock = std::chrono::steady_clock;
using loop::Result;
using loop::Status;
using loop::UniqueFd;

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kFileMode = 0644;

struct NamedLoop {
  std::string_view name;
  Loop loop;
};
constexpr std::array<NamedLoop, 5> kLoops = {{{"stat", Loop::kStat},
                                              {"fresh-stat", Loop::kFreshStat},
                                              {"open-close", Loop::kOpenClose},
                                              {"create-unlink", Loop::kCreateUnlink},
                                              {"readdir", Loop::kReaddir}}};

std::string directory_of(const Load& load, unsigned thread) {
  return load.directory + "/thread" + std::to_string(thread);
}

std::vector<std::string> names_of(const Load& load) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < load.files; ++i) names.push_back("file" + std::to_string(i));
  return names;
}

Result<UniqueFd> open_at(int directory, const char* name, int flags) {
  UniqueFd fd(::openat(directory, name, flags | O_CLOEXEC, kFileMode));
  if (!fd) return loop::fail(errno);
  return fd;
}

// One thread's directory, its names, and where it is among them.
struct Place {
  UniqueFd directory;
  std::vector<std::string> names;
  std::size_t next = 0;

  const char* next_name() {
    const char* name = names[next].c_str();
    next = next + 1 == names.size() ? 0 : next + 1;
    return name;
  }
};

Status stat_once(Place& place) {
  struct stat attributes {};
  return loop::to_status(loop::from_libc(
      ::fstatat(place.directory.get(), place.next_name(), &attributes, AT_SYMLINK_NOFOLLOW)));
}

Status fresh_stat_once(Place& place) {
  struct statx attributes {};
  return loop::to_status(loop::from_libc(::statx(place.directory.get(), place.next_name(),
                                                 AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC,
                                                 STATX_BASIC_STATS, &attributes)));
}

Status open_once(Place& place) {
  const auto file = open_at(place.directory.get(), place.next_name(), O_RDONLY);
  if (!file) return tl::unexpected(file.error());
  return {};
}

Status create_once(Place& place) {
  constexpr const char* kName = "created";
  OURO_TRY(open_at(place.directory.get(), kName, O_WRONLY | O_CREAT | O_EXCL));
  return loop::to_status(loop::from_libc(::unlinkat(place.directory.get(), kName, 0)));
}

Status list_once(Place& place) {
  auto listed = open_at(place.directory.get(), ".", O_RDONLY | O_DIRECTORY);
  if (!listed) return tl::unexpected(listed.error());
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(listed->get()), &::closedir);
  if (!stream) return loop::fail(errno);
  (void)listed->release();  // the stream closes it
  std::size_t entries = 0;
  errno = 0;
  while (::readdir(stream.get()) != nullptr) ++entries;
  if (errno != 0) return loop::fail(errno);
  // A list that lacks names would be fast and wrong.
  return entries < place.names.size() ? Status(loop::fail(EIO)) : Status();
}

Status once(Loop kind, Place& place) {
  switch (kind) {
    case Loop::kStat:
      return stat_once(place);
    case Loop::kFreshStat:
      return fresh_stat_once(place);
    case Loop::kOpenClose:
      return open_once(place);
    case Loop::kCreateUnlink:
      return create_once(place);
    case Loop::kReaddir:
      return list_once(place);
  }
  return loop::fail(EINVAL);
}

// What one thread does; read by others when it has ended.
struct Worker {
  Place place;
  Histogram durations;
  Status status;
  Clock::time_point begin;
  Clock::time_point end;
};

void work(Worker& worker, const Load& load, std::latch& start, std::atomic<bool>& failed) {
  start.arrive_and_wait();
  worker.begin = Clock::now();
  const auto deadline = worker.begin + std::chrono::duration<double>(load.seconds);
  auto before = worker.begin;
  while (before < deadline && !failed) {
    worker.status = once(load.loop, worker.place);
    const auto after = Clock::now();
    if (!worker.status) {
      failed = true;
      break;
    }
    worker.durations.add(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(after - before).count()));
    before = after;
  }
  worker.end = before;
}

Result<std::vector<Worker>> workers_of(const Load& load) {
  std::vector<Worker> workers(load.threads);
  for (unsigned i = 0; i < load.threads; ++i) {
    auto directory = open_at(AT_FDCWD, directory_of(load, i).c_str(), O_PATH | O_DIRECTORY);
    if (!directory) return tl::unexpected(directory.error());
    workers[i].place = {std::move(*directory), names_of(load)};
  }
  return workers;
}

}  // namespace

std::optional<Loop> loop_named(std::string_view name) {
  const auto* found = std::ranges::find(kLoops, name, &NamedLoop::name);
  if (found == kLoops.end()) return std::nullopt;
  return found->loop;
}

Status prepare(const Load& load) {
  for (unsigned i = 0; i < load.threads; ++i) {
    const std::string directory = directory_of(load, i);
    if (::mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return loop::fail(errno);
    }
    const auto fd = open_at(AT_FDCWD, directory.c_str(), O_PATH | O_DIRECTORY);
    if (!fd) return tl::unexpected(fd.error());
    for (const std::string& name : names_of(load)) {
      OURO_TRY(open_at(fd->get(), name.c_str(), O_WRONLY | O_CREAT));
    }
  }
  return {};
}

Result<Outcome> run(const Load& load) {
  auto workers = workers_of(load);
  if (!workers) return tl::unexpected(workers.error());
  std::latch start(static_cast<std::ptrdiff_t>(load.threads));
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (Worker& worker : *workers) {
    threads.emplace_back([&] { work(worker, load, start, failed); });
  }
  for (std::thread& thread : threads) thread.join();

  Outcome outcome;
  auto begin = Clock::time_point::max();
  auto end = Clock::time_point::min();
  for (const Worker& worker : *workers) {
    OURO_TRY(worker.status);
    outcome.durations.merge(worker.durations);
    begin = std::min(begin, worker.begin);
    end = std::max(end, worker.end);
  }
  outcome.seconds = std::chrono::duration<double>(end - begin).count();
  return outcome;
}

}  // namespace ouro::bench
