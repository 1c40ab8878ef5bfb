// The rows of Boost.Asio; compiled once with its epoll reactor and once with io_uring.
#include <memory>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

#include "bench/loop/workload.hpp"

namespace ouro::bench {
namespace {

namespace asio = boost::asio;

// One that does not stop when it has nothing to do.
struct Context : asio::io_context {
  Context() : asio::io_context(1) {}
  const asio::executor_work_guard<executor_type> work = asio::make_work_guard(*this);
};

// Watches a descriptor for as long as it lives.
class Watch {
 public:
  Watch(asio::io_context& context, int fd, int& events)
      : descriptor_(context, fd), fd_(fd), events_(events) {
    wait();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { descriptor_.release(); }

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& error) {
                             if (error) return;
                             events_ += take(fd_) ? 1 : 0;
                             wait();
                           });
  }

  asio::posix::stream_descriptor descriptor_;
  const int fd_;
  int& events_;
};

void ping_pong(benchmark::State& state) {
  Echo echo;
  Context context;
  int events = 0;
  const Watch watch(context, echo.pong.get(), events);
  for (auto _ : state) {
    events = 0;
    put(echo.ping.get());
    while (events == 0) context.run_one();
  }
}
BENCHMARK(ping_pong)->Name("eventfd_ping_pong")->UseRealTime();

void one_fd(benchmark::State& state) {
  const loop::UniqueFd fd = event_fd();
  Context context;
  int events = 0;
  const Watch watch(context, fd.get(), events);
  for (auto _ : state) {
    events = 0;
    put(fd.get());
    while (events == 0) context.run_one();
  }
}
BENCHMARK(one_fd)->Name("one_active_fd");

void many_fds(benchmark::State& state) {
  const ManyFds fds(static_cast<std::size_t>(state.range(0)));
  Context context;
  int events = 0;
  std::vector<std::unique_ptr<Watch>> watches;
  for (const auto* group : {&fds.idle_fds, &fds.active}) {
    for (const auto& fd : *group) {
      watches.push_back(std::make_unique<Watch>(context, fd.get(), events));
    }
  }
  for (auto _ : state) {
    events = 0;
    fds.activate();
    while (events < kActiveFds) context.run_one();
  }
  state.SetItemsProcessed(state.iterations() * kActiveFds);
}
BENCHMARK(many_fds)->Name("idle_fds_100_active")->Arg(0)->Arg(10'000);

void deferred(benchmark::State& state) {
  Context context;
  int runs = 0;
  for (auto _ : state) {
    asio::post(context, [&] { ++runs; });
    context.run_one();
  }
}
BENCHMARK(deferred)->Name("deferred_call");

void wake(benchmark::State& state) {
  asio::io_context context;
  auto work = asio::make_work_guard(context);
  const loop::UniqueFd back(::eventfd(0, EFD_CLOEXEC));
  std::thread thread([&] { context.run(); });
  for (auto _ : state) {
    asio::post(context, [&] { put(back.get()); });
    take(back.get());
  }
  work.reset();
  thread.join();
}
BENCHMARK(wake)->Name("cross_thread_wake")->UseRealTime();

void timer_arm_cancel(benchmark::State& state) {
  Context context;
  std::vector<std::unique_ptr<asio::steady_timer>> others;
  for (int i = 0; i < state.range(0); ++i) {
    others.push_back(std::make_unique<asio::steady_timer>(
        context, std::chrono::hours(1) + std::chrono::microseconds(i)));
    others.back()->async_wait([](const boost::system::error_code&) {});
  }
  asio::steady_timer timer(context);
  for (auto _ : state) {
    timer.expires_after(std::chrono::hours(1) + std::chrono::milliseconds(50));
    timer.async_wait([](const boost::system::error_code&) {});
    timer.cancel();
    context.run_one();  // the handler of the one that was cancelled
  }
}
BENCHMARK(timer_arm_cancel)->Arg(0)->Arg(100'000);

void timer_fire(benchmark::State& state) {
  Context context;
  asio::steady_timer timer(context);
  for (auto _ : state) {
    bool fired = false;
    timer.expires_after(std::chrono::nanoseconds(0));
    timer.async_wait([&](const boost::system::error_code&) { fired = true; });
    while (!fired) context.run_one();
  }
}
BENCHMARK(timer_fire);

#ifdef BOOST_ASIO_HAS_FILE
void file_reads(benchmark::State& state) {
  CachedFile file;
  Buffers buffers(kDepth);
  Context context;
  asio::random_access_file asio_file(context, ::dup(file.fd.get()));
  std::size_t done = 0;
  for (auto _ : state) {
    done = 0;
    for (auto& buffer : buffers) {
      asio_file.async_read_some_at(file.next_offset(), asio::buffer(buffer),
                                   [&](const boost::system::error_code&, std::size_t) { ++done; });
    }
    while (done < kDepth) context.run_one();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kDepth));
}
BENCHMARK(file_reads)->Name("file_reads_4k_depth_32");
#endif

}  // namespace
}  // namespace ouro::bench
