// The floor: liburing and epoll by hand, with nothing in between.
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <benchmark/benchmark.h>

#include "bench/loop/raw_work.hpp"
#include "bench/loop/workload.hpp"

namespace ouro::bench {
namespace {

struct RawRing {
  explicit RawRing(unsigned entries) {
    io_uring_params params{};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                   IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    params.cq_entries = 4096;
    require(::io_uring_queue_init_params(entries, &ring, &params) == 0, "io_uring_queue_init");
    ::io_uring_register_ring_fd(&ring);
  }
  RawRing(const RawRing&) = delete;
  RawRing& operator=(const RawRing&) = delete;
  ~RawRing() { ::io_uring_queue_exit(&ring); }

  io_uring_sqe& next() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring);
    while (sqe == nullptr) {
      ::io_uring_submit(&ring);
      sqe = ::io_uring_get_sqe(&ring);
    }
    return *sqe;
  }
  // Submits, waits, and counts what came back.
  std::size_t turn() {
    ::io_uring_submit_and_wait(&ring, 1);
    return take_cqes(ring);
  }

  io_uring ring{};
};

struct RawEpoll {
  RawEpoll() { require(static_cast<bool>(fd), "epoll_create1"); }
  void add(int watched) const {
    epoll_event event{EPOLLIN, {.fd = watched}};
    require(::epoll_ctl(fd.get(), EPOLL_CTL_ADD, watched, &event) == 0, "epoll_ctl");
  }
  // Waits, and takes the event of everything that is ready.
  int turn() {
    std::array<epoll_event, 128> events;
    const int count = ::epoll_wait(fd.get(), events.data(), static_cast<int>(events.size()), -1);
    int taken = 0;
    for (int i = 0; i < count; ++i)
      taken += take(events[static_cast<std::size_t>(i)].data.fd) ? 1 : 0;
    return taken;
  }
  const loop::UniqueFd fd{::epoll_create1(EPOLL_CLOEXEC)};
};

void nops(benchmark::State& state) {
  RawRing ring(256);
  run_nops(state, ring, static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(nops)->Name("nop_round_trip")->Arg(1);
BENCHMARK(nops)->Name("nop_batch")->Arg(64)->Arg(1024);

void ping_pong(benchmark::State& state) {
  RawEpoll epoll;
  Echo echo;
  epoll.add(echo.pong.get());
  for (auto _ : state) {
    put(echo.ping.get());
    while (epoll.turn() == 0) {
    }
  }
}
BENCHMARK(ping_pong)->Name("eventfd_ping_pong")->UseRealTime();

void one_fd(benchmark::State& state) {
  RawEpoll epoll;
  const loop::UniqueFd fd = event_fd();
  epoll.add(fd.get());
  for (auto _ : state) {
    put(fd.get());
    epoll.turn();
  }
}
BENCHMARK(one_fd)->Name("one_active_fd");

void many_fds(benchmark::State& state) {
  RawEpoll epoll;
  const ManyFds fds(static_cast<std::size_t>(state.range(0)));
  for (const auto& fd : fds.idle_fds) epoll.add(fd.get());
  for (const auto& fd : fds.active) epoll.add(fd.get());
  for (auto _ : state) {
    fds.activate();
    for (int events = 0; events < kActiveFds;) events += epoll.turn();
  }
  state.SetItemsProcessed(state.iterations() * kActiveFds);
}
BENCHMARK(many_fds)->Name("idle_fds_100_active")->Arg(0)->Arg(10'000);

void wake(benchmark::State& state) {
  const loop::UniqueFd there = event_fd();
  const loop::UniqueFd back(::eventfd(0, EFD_CLOEXEC));
  std::atomic<bool> stop = false;
  std::thread thread([&] {
    RawEpoll epoll;
    epoll.add(there.get());
    while (!stop) {
      if (epoll.turn() > 0) put(back.get());
    }
  });
  for (auto _ : state) {
    put(there.get());
    take(back.get());
  }
  stop = true;
  put(there.get());
  thread.join();
}
BENCHMARK(wake)->Name("cross_thread_wake")->UseRealTime();

void file_reads(benchmark::State& state) {
  RawRing ring(256);
  run_file_reads(state, ring);
}
BENCHMARK(file_reads)->Name("file_reads_4k_depth_32");

}  // namespace
}  // namespace ouro::bench
