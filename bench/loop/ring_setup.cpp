// What each choice of loop/ring.cpp is worth: the same work on a ring set up as the loop does it,
// and on one that does without a single choice. Rows are WORK/SETUP; run.py --ring-setup makes the
// table.
#include <liburing.h>
#include <linux/time_types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>

#include <benchmark/benchmark.h>

#include "bench/loop/raw_work.hpp"
#include "bench/loop/workload.hpp"
#include "loop/uring_abi.hpp"

namespace ouro::bench {
namespace {

constexpr unsigned kDeferred = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
constexpr unsigned kChosen =
    IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | kDeferred;

struct Setup {
  const char* name;
  unsigned flags = kChosen;
  bool registered_fd = true;
  bool no_iowait = true;
  bool always_timed = false;  // EXT_ARG with a timeout at every wait
};

constexpr Setup kSetups[] = {
    {.name = "as_the_loop_does"},
    {.name = "COOP_TASKRUN_instead_of_DEFER_TASKRUN",
     .flags = (kChosen & ~kDeferred) | IORING_SETUP_COOP_TASKRUN},
    {.name = "SINGLE_ISSUER_alone",
     .flags = (kChosen & ~kDeferred & ~IORING_SETUP_TASKRUN_FLAG) | IORING_SETUP_SINGLE_ISSUER},
    {.name = "neither", .flags = kChosen & ~kDeferred & ~IORING_SETUP_TASKRUN_FLAG},
    {.name = "no_TASKRUN_FLAG", .flags = kChosen & ~IORING_SETUP_TASKRUN_FLAG},
    {.name = "no_SUBMIT_ALL", .flags = kChosen & ~IORING_SETUP_SUBMIT_ALL},
    {.name = "no_CQSIZE", .flags = kChosen & ~IORING_SETUP_CQSIZE},
    {.name = "no_registered_ring_fd", .registered_fd = false},
    {.name = "no_NO_IOWAIT", .no_iowait = false},
    {.name = "a_timeout_at_every_wait", .always_timed = true},
};

class SetupRing {
 public:
  explicit SetupRing(const Setup& setup) : always_timed_(setup.always_timed) {
    io_uring_params params{};
    params.flags = setup.flags;
    params.cq_entries = 4096;
    require(::io_uring_queue_init_params(256, &ring_, &params) == 0, "io_uring_queue_init");
    if (setup.registered_fd && ::io_uring_register_ring_fd(&ring_) == 1) {
      enter_flags_ |= IORING_ENTER_REGISTERED_RING;
    }
    if (setup.no_iowait && (ring_.features & loop::abi::kFeatNoIowait) != 0) {
      enter_flags_ |= loop::abi::kEnterNoIowait;
    }
  }
  SetupRing(const SetupRing&) = delete;
  SetupRing& operator=(const SetupRing&) = delete;
  ~SetupRing() { ::io_uring_queue_exit(&ring_); }

  io_uring_sqe& next() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      enter(0);
      sqe = ::io_uring_get_sqe(&ring_);
    }
    return *sqe;
  }

  // Submits, waits, and counts what came back.
  std::size_t turn() {
    enter(::io_uring_cq_ready(&ring_) == 0 ? 1 : 0);
    return take_cqes(ring_);
  }

 private:
  void enter(unsigned wait_for) {
    io_uring_sq& sq = ring_.sq;
    for (unsigned at = sq.sqe_head; at != sq.sqe_tail; ++at) {
      sq.array[at & sq.ring_mask] = at & sq.ring_mask;
    }
    sq.sqe_head = sq.sqe_tail;
    io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
    const unsigned queued = sq.sqe_tail - io_uring_smp_load_acquire(sq.khead);
    __kernel_timespec timeout{3600, 0};
    io_uring_getevents_arg arg{};
    arg.sigmask_sz = _NSIG / 8;
    arg.ts = reinterpret_cast<std::uint64_t>(&timeout);
    const bool timed = always_timed_ && wait_for > 0;
    const auto flags = enter_flags_ | IORING_ENTER_GETEVENTS | (timed ? IORING_ENTER_EXT_ARG : 0U);
    require(::syscall(__NR_io_uring_enter, ring_.enter_ring_fd, queued, wait_for, flags,
                      timed ? &arg : nullptr, timed ? sizeof arg : 0) >= 0,
            "io_uring_enter");
  }

  io_uring ring_{};
  unsigned enter_flags_ = 0;
  const bool always_timed_;
};

void nops(benchmark::State& state, const Setup& setup, std::size_t count) {
  SetupRing ring(setup);
  run_nops(state, ring, count);
}

// A descriptor that is watched by a one-shot POLL_ADD and written to by this thread.
void watched_fd(benchmark::State& state, const Setup& setup) {
  SetupRing ring(setup);
  const loop::UniqueFd fd = event_fd();
  for (auto _ : state) {
    ::io_uring_prep_poll_add(&ring.next(), fd.get(), POLLIN);
    put(fd.get());
    ring.turn();
    take(fd.get());
  }
}

// The same, of which the other end is a thread that sleeps in between.
void echo(benchmark::State& state, const Setup& setup) {
  SetupRing ring(setup);
  Echo other;
  for (auto _ : state) {
    ::io_uring_prep_poll_add(&ring.next(), other.pong.get(), POLLIN);
    put(other.ping.get());
    ring.turn();
    take(other.pong.get());
  }
}

void file_reads(benchmark::State& state, const Setup& setup) {
  SetupRing ring(setup);
  run_file_reads(state, ring);
}

// Requests that a kernel worker must serve, whose completions come from another thread.
void by_workers(benchmark::State& state, const Setup& setup) {
  SetupRing ring(setup);
  run_file_reads(state, ring, IOSQE_ASYNC);
}

void register_rows() {
  using Row = std::function<void(benchmark::State&, const Setup&)>;
  const std::pair<const char*, Row> rows[] = {
      {"nop", [](benchmark::State& state, const Setup& setup) { nops(state, setup, 1); }},
      {"64_nops", [](benchmark::State& state, const Setup& setup) { nops(state, setup, 64); }},
      {"1024_nops", [](benchmark::State& state, const Setup& setup) { nops(state, setup, 1024); }},
      {"watched_fd", watched_fd},
      {"echo", echo},
      {"32_reads", file_reads},
      {"32_reads_by_workers", by_workers},
  };
  for (const auto& [work, run] : rows) {
    for (const Setup& setup : kSetups) {
      benchmark::RegisterBenchmark(
          (std::string(work) + "/" + setup.name).c_str(),
          [run = run, &setup](benchmark::State& state) { run(state, setup); })
          ->UseRealTime();
    }
  }
}

}  // namespace
}  // namespace ouro::bench

int main(int argc, char** argv) {
  ouro::bench::register_rows();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
