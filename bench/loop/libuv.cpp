// The rows of libuv.
#include <uv.h>

#include <memory>

#include <benchmark/benchmark.h>

#include "bench/loop/workload.hpp"

namespace ouro::bench {
namespace {

struct UvLoop {
  UvLoop() { require(::uv_loop_init(&loop) == 0, "uv_loop_init"); }
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;
  // Handles must outlive the loop: declare them before.
  ~UvLoop() {
    ::uv_walk(
        &loop, [](uv_handle_t* handle, void*) { ::uv_close(handle, nullptr); }, nullptr);
    ::uv_run(&loop, UV_RUN_DEFAULT);
    ::uv_loop_close(&loop);
  }
  void turn() { ::uv_run(&loop, UV_RUN_ONCE); }
  uv_loop_t loop{};
};

struct Watch {
  uv_poll_t handle{};
  int fd = -1;
  int* events = nullptr;

  void start(UvLoop& loop, int watched, int& counter) {
    fd = watched;
    events = &counter;
    handle.data = this;
    require(::uv_poll_init(&loop.loop, &handle, fd) == 0, "uv_poll_init");
    ::uv_poll_start(&handle, UV_READABLE, [](uv_poll_t* poll, int, int) {
      auto* self = static_cast<Watch*>(poll->data);
      *self->events += take(self->fd) ? 1 : 0;
    });
  }
};

void ping_pong(benchmark::State& state) {
  Echo echo;
  int events = 0;
  Watch watch;
  UvLoop loop;
  watch.start(loop, echo.pong.get(), events);
  for (auto _ : state) {
    events = 0;
    put(echo.ping.get());
    while (events == 0) loop.turn();
  }
}
BENCHMARK(ping_pong)->Name("eventfd_ping_pong")->UseRealTime();

void one_fd(benchmark::State& state) {
  const loop::UniqueFd fd = event_fd();
  int events = 0;
  Watch watch;
  UvLoop loop;
  watch.start(loop, fd.get(), events);
  for (auto _ : state) {
    put(fd.get());
    loop.turn();
  }
}
BENCHMARK(one_fd)->Name("one_active_fd");

void many_fds(benchmark::State& state) {
  const ManyFds fds(static_cast<std::size_t>(state.range(0)));
  int events = 0;
  std::vector<std::unique_ptr<Watch>> watches;
  UvLoop loop;
  for (const auto* group : {&fds.idle_fds, &fds.active}) {
    for (const auto& fd : *group) {
      watches.push_back(std::make_unique<Watch>());
      watches.back()->start(loop, fd.get(), events);
    }
  }
  for (auto _ : state) {
    events = 0;
    fds.activate();
    while (events < kActiveFds) loop.turn();
  }
  state.SetItemsProcessed(state.iterations() * kActiveFds);
}
BENCHMARK(many_fds)->Name("idle_fds_100_active")->Arg(0)->Arg(10'000);

void deferred(benchmark::State& state) {
  int runs = 0;
  uv_async_t async{};
  UvLoop loop;
  async.data = &runs;
  ::uv_async_init(&loop.loop, &async, [](uv_async_t* self) { ++*static_cast<int*>(self->data); });
  for (auto _ : state) {
    ::uv_async_send(&async);
    loop.turn();
  }
}
BENCHMARK(deferred)->Name("deferred_call");

void wake(benchmark::State& state) {
  const loop::UniqueFd back(::eventfd(0, EFD_CLOEXEC));
  struct Shared {
    int fd;
    std::atomic<bool> stop = false;
  } shared{back.get()};
  uv_async_t async{};
  std::atomic<bool> ready = false;
  std::thread thread([&] {
    UvLoop loop;
    async.data = &shared;
    ::uv_async_init(&loop.loop, &async,
                    [](uv_async_t* self) { put(static_cast<Shared*>(self->data)->fd); });
    ready = true;
    while (!shared.stop) loop.turn();
  });
  while (!ready) std::this_thread::yield();
  for (auto _ : state) {
    ::uv_async_send(&async);
    take(back.get());
  }
  shared.stop = true;
  ::uv_async_send(&async);
  thread.join();
}
BENCHMARK(wake)->Name("cross_thread_wake")->UseRealTime();

void timer_arm_cancel(benchmark::State& state) {
  std::vector<std::unique_ptr<uv_timer_t>> others;
  uv_timer_t timer{};
  UvLoop loop;
  for (int i = 0; i < state.range(0); ++i) {
    others.push_back(std::make_unique<uv_timer_t>());
    ::uv_timer_init(&loop.loop, others.back().get());
    ::uv_timer_start(
        others.back().get(), [](uv_timer_t*) {}, 3'600'000 + static_cast<std::uint64_t>(i), 0);
  }
  ::uv_timer_init(&loop.loop, &timer);
  for (auto _ : state) {
    ::uv_timer_start(
        &timer, [](uv_timer_t*) {}, 3'650'000, 0);
    ::uv_timer_stop(&timer);
  }
}
BENCHMARK(timer_arm_cancel)->Arg(0)->Arg(100'000);
BENCHMARK(timer_arm_cancel)->Name("timer_arm_at_cancel")->Arg(0);

void timer_fire(benchmark::State& state) {
  bool fired = false;
  uv_timer_t timer{};
  UvLoop loop;
  ::uv_timer_init(&loop.loop, &timer);
  timer.data = &fired;
  for (auto _ : state) {
    fired = false;
    ::uv_timer_start(
        &timer, [](uv_timer_t* self) { *static_cast<bool*>(self->data) = true; }, 0, 0);
    while (!fired) loop.turn();
  }
}
BENCHMARK(timer_fire);

struct Read {
  uv_fs_t request{};
  uv_buf_t buffer{};
  std::size_t* done = nullptr;
};

void file_reads(benchmark::State& state) {
  CachedFile file;
  Buffers buffers(kDepth);
  std::size_t done = 0;
  std::vector<Read> reads(kDepth);
  UvLoop loop;
  for (auto _ : state) {
    done = 0;
    for (std::size_t i = 0; i < kDepth; ++i) {
      reads[i].buffer = ::uv_buf_init(buffers[i].data(), kBlockBytes);
      reads[i].done = &done;
      reads[i].request.data = &reads[i];
      ::uv_fs_read(&loop.loop, &reads[i].request, file.fd.get(), &reads[i].buffer, 1,
                   static_cast<std::int64_t>(file.next_offset()), [](uv_fs_t* request) {
                     ++*static_cast<Read*>(request->data)->done;
                     ::uv_fs_req_cleanup(request);
                   });
    }
    while (done < kDepth) loop.turn();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kDepth));
}
BENCHMARK(file_reads)->Name("file_reads_4k_depth_32")->UseRealTime();

}  // namespace
}  // namespace ouro::bench
