// The rows of our own loop.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/loop/workload.hpp"
#include "loop/aio_context.hpp"

namespace ouro::bench {
namespace {

using loop::AioContext;
using loop::Blocking;

class Counter final : public loop::CqeHandler {
 public:
  explicit Counter(std::size_t& done) : done_(done) {}

 private:
  void on_cqe(const loop::Cqe&) override { ++done_; }
  std::size_t& done_;
};

void nops(benchmark::State& state) {
  const auto context = AioContext::create().value();
  const auto batch = static_cast<std::size_t>(state.range(0));
  std::size_t done = 0;
  std::vector<std::unique_ptr<Counter>> handlers;
  for (std::size_t i = 0; i < batch; ++i) handlers.push_back(std::make_unique<Counter>(done));
  // Submitted and reaped by one iteration, as in a loop that runs.
  const loop::SubmitScope scope(*context);
  for (auto _ : state) {
    done = 0;
    for (const auto& handler : handlers) {
      context->add_sqe([](io_uring_sqe& sqe) { ::io_uring_prep_nop(&sqe); }, *handler);
    }
    while (done < batch) context->poll(Blocking::kYes);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(nops)->Name("nop_round_trip")->Arg(1);
BENCHMARK(nops)->Name("nop_batch")->Arg(64)->Arg(1024);

void ping_pong(benchmark::State& state) {
  const auto context = AioContext::create().value();
  Echo echo;
  bool answered = false;
  context->set_fd_handler(echo.pong.get(), {[&] { answered = take(echo.pong.get()); }, {}});
  for (auto _ : state) {
    answered = false;
    put(echo.ping.get());
    while (!answered) context->poll(Blocking::kYes);
  }
}
BENCHMARK(ping_pong)->Name("eventfd_ping_pong")->UseRealTime();

void one_fd(benchmark::State& state) {
  const auto context = AioContext::create().value();
  const loop::UniqueFd fd = event_fd();
  context->set_fd_handler(fd.get(), {[&] { take(fd.get()); }, {}});
  for (auto _ : state) {
    put(fd.get());
    context->poll(Blocking::kYes);
  }
}
BENCHMARK(one_fd)->Name("one_active_fd");

void many_fds(benchmark::State& state) {
  const auto context = AioContext::create().value();
  const ManyFds fds(static_cast<std::size_t>(state.range(0)));
  int events = 0;
  for (const auto& fd : fds.idle_fds) context->set_fd_handler(fd.get(), {[] {}, {}});
  for (const auto& fd : fds.active) {
    context->set_fd_handler(fd.get(), {[&, raw = fd.get()] { events += take(raw) ? 1 : 0; }, {}});
  }
  for (auto _ : state) {
    events = 0;
    fds.activate();
    while (events < kActiveFds) context->poll(Blocking::kYes);
  }
  state.SetItemsProcessed(state.iterations() * kActiveFds);
}
BENCHMARK(many_fds)->Name("idle_fds_100_active")->Arg(0)->Arg(10'000);

void bh(benchmark::State& state) {
  const auto context = AioContext::create().value();
  int runs = 0;
  loop::BottomHalf half(*context, [&] { ++runs; });
  for (auto _ : state) {
    half.schedule();
    context->poll(Blocking::kYes);
  }
  benchmark::DoNotOptimize(runs);
}
BENCHMARK(bh)->Name("deferred_call");

void wake(benchmark::State& state) {
  // A thread that is asleep in its loop is woken by a call and wakes us by an eventfd.
  std::atomic<AioContext*> theirs = nullptr;
  std::atomic<bool> stop = false;
  const loop::UniqueFd back(::eventfd(0, EFD_CLOEXEC));
  std::thread thread([&] {
    const auto context = AioContext::create().value();
    theirs = context.get();
    while (!stop) context->poll(Blocking::kYes);
    theirs = nullptr;
  });
  while (theirs == nullptr) std::this_thread::yield();
  {
    loop::BottomHalf half(*theirs, [&] { put(back.get()); });
    for (auto _ : state) {
      half.schedule();
      take(back.get());
    }
  }
  stop = true;
  AioContext* const context = theirs;
  context->notify();
  thread.join();
}
BENCHMARK(wake)->Name("cross_thread_wake")->UseRealTime();

void timer_arm_cancel(benchmark::State& state) {
  const auto context = AioContext::create().value();
  std::vector<std::unique_ptr<loop::Timer>> others;
  for (int i = 0; i < state.range(0); ++i) {
    others.push_back(std::make_unique<loop::Timer>(*context, [] {}));
    others.back()->arm_in(3'600'000'000'000 + i * 1'000);
  }
  loop::Timer timer(*context, [] {});
  for (auto _ : state) {
    timer.arm_in(3'600'050'000'000);
    timer.cancel();
  }
}
BENCHMARK(timer_arm_cancel)->Arg(0)->Arg(100'000);

// Without reading the clock, as libuv's relative timers do, which count from the time of the turn.
void timer_arm_at_cancel(benchmark::State& state) {
  const auto context = AioContext::create().value();
  loop::Timer timer(*context, [] {});
  const std::int64_t deadline_ns = loop::monotonic_now_ns() + 3'600'000'000'000;
  for (auto _ : state) {
    timer.arm_at(deadline_ns);
    timer.cancel();
  }
}
BENCHMARK(timer_arm_at_cancel)->Arg(0);

void timer_fire(benchmark::State& state) {
  const auto context = AioContext::create().value();
  bool fired = false;
  loop::Timer timer(*context, [&] { fired = true; });
  for (auto _ : state) {
    fired = false;
    timer.arm_in(0);
    while (!fired) context->poll(Blocking::kYes);
  }
}
BENCHMARK(timer_fire);

class Reader final : public loop::CqeHandler {
 public:
  Reader(AioContext& context, CachedFile& file, std::array<char, kBlockBytes>& buffer,
         std::size_t& done)
      : context_(context), file_(file), buffer_(buffer), done_(done) {}
  void start() {
    context_.add_sqe(
        [this](io_uring_sqe& sqe) {
          ::io_uring_prep_read(&sqe, file_.fd.get(), buffer_.data(), kBlockBytes,
                               file_.next_offset());
        },
        *this);
  }

 private:
  void on_cqe(const loop::Cqe& cqe) override {
    require(cqe.res == kBlockBytes, "read");
    ++done_;
  }

  AioContext& context_;
  CachedFile& file_;
  std::array<char, kBlockBytes>& buffer_;
  std::size_t& done_;
};

void file_reads(benchmark::State& state) {
  const auto context = AioContext::create().value();
  CachedFile file;
  Buffers buffers(kDepth);
  std::size_t done = 0;
  std::vector<std::unique_ptr<Reader>> readers;
  for (auto& buffer : buffers) {
    readers.push_back(std::make_unique<Reader>(*context, file, buffer, done));
  }
  const loop::SubmitScope scope(*context);
  for (auto _ : state) {
    done = 0;
    for (const auto& reader : readers) reader->start();
    while (done < kDepth) context->poll(Blocking::kYes);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kDepth));
}
BENCHMARK(file_reads)->Name("file_reads_4k_depth_32");

}  // namespace
}  // namespace ouro::bench
