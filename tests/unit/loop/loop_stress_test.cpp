// A random mixture of all that a context is for, from its own thread and from others.
// OURO_STRESS_SECONDS sets its length, OURO_STRESS_SEED repeats a run.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "loop/bottom_half.hpp"
#include "loop/timer.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/pipe.hpp"

namespace ouro::loop {
namespace {

using testing::Pipe;

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : static_cast<unsigned>(std::stoul(value));
}

class LoopStressTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kChainLength = 4;
  static constexpr unsigned kDeepest = 6;
  static constexpr int kOthers = 2;

  // Requests that count: as many completions as submissions.
  class Request final : public CqeHandler {
   public:
    explicit Request(LoopStressTest& test) : test_(test) {}
    char byte = 0;

   private:
    void on_cqe(const Cqe& cqe) override {
      if ((cqe.flags & IORING_CQE_F_MORE) != 0) return;
      ++test_.completed_;
      test_.step();
    }
    LoopStressTest& test_;
  };

  Request* idle_request() {
    for (std::size_t tries = 0; tries < 8; ++tries) {
      Request& request = *requests_[random(requests_.size())];
      if (request.state() == CqeHandler::State::kIdle) return &request;
    }
    return nullptr;
  }
  std::size_t random(std::size_t below) { return random_() % below; }

  void submit(const std::function<void(Request&, io_uring_sqe&)>& prep) {
    Request* const request = idle_request();
    if (request == nullptr) return;
    ++submitted_;
    context_->add_sqe([&](io_uring_sqe& sqe) { prep(*request, sqe); }, *request);
  }

  void add_chain() {
    const auto at = random(chains_.size());
    std::array<CqeHandler*, kChainLength> links{};
    for (std::size_t i = 0; i < kChainLength; ++i) {
      links[i] = chains_[at][i].get();
      if (links[i]->state() != CqeHandler::State::kIdle) return;
    }
    const std::size_t silent = random(kChainLength);
    const std::size_t fails = random(2 * kChainLength);
    const std::size_t waits = random(2 * kChainLength);
    context_->add_chain(links, [&](std::size_t i, io_uring_sqe& sqe) {
      if (i == fails) {
        ::io_uring_prep_fsync(&sqe, -1, 0);
      } else if (i == waits) {
        ::io_uring_prep_read(&sqe, empty_.reader.get(), &sink_, 1, 0);
      } else {
        ::io_uring_prep_nop(&sqe);
      }
      if (i < silent) sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    });
  }

  void watch_or_not(const Pipe& pipe) {
    const int fd = pipe.reader.get();
    if (random(2) == 0) return context_->remove_fd_handler(fd);
    context_->set_fd_handler(fd, {[this, &pipe] {
                                    (void)pipe.take();
                                    step();
                                  },
                                  {}});
  }

  // One random thing, in any callback or none.
  void step() {
    if (ending_) return;
    ++steps_;
    const Pipe& pipe = pipes_[random(pipes_.size())];
    switch (random(12)) {
      case 0:
        return submit([](Request&, io_uring_sqe& sqe) { ::io_uring_prep_nop(&sqe); });
      case 1:
        return submit([this](Request& request, io_uring_sqe& sqe) {
          ::io_uring_prep_read(&sqe, empty_.reader.get(), &request.byte, 1, 0);
        });
      case 2:
        return submit([&](Request&, io_uring_sqe& sqe) {
          ::io_uring_prep_poll_multishot(&sqe, pipe.reader.get(), POLLIN);
        });
      case 3:
      case 4:
        return context_->cancel(*requests_[random(requests_.size())]);
      case 5:
        return add_chain();
      case 6:
        return context_->cancel(*chains_[random(chains_.size())][random(kChainLength)]);
      case 7:
        return watch_or_not(pipe);
      case 8:
        if (random(4) == 0) (void)pipe.take();
        return (void)::write(pipe.writer.get(), "x", 1);
      case 9:
        return timers_[random(timers_.size())]->arm_in(static_cast<std::int64_t>(random(200'000)));
      case 10:
        if (context_->depth() < kDeepest) (void)context_->poll(Blocking::kNo);
        return;
      default:
        return bottom_halves_[random(bottom_halves_.size())]->schedule();
    }
  }

  // What others may do.
  void disturb(unsigned seed) {
    std::minstd_rand random(seed);
    while (!stop_) {
      switch (random() % 6) {
        case 0:
          context_->notify();
          break;
        case 1:
          ++posted_;
          context_->post([this] {
            ++ran_;
            step();
          });
          break;
        case 2: {
          auto bh = std::make_unique<BottomHalf>(*context_, [this] { step(); });
          bh->schedule();
          BottomHalf::destroy_later(std::move(bh));
          break;
        }
        case 3:
          bottom_halves_[random() % bottom_halves_.size()]->schedule();
          break;
        default: {  // a number that comes and goes
          Pipe pipe;
          const int fd = pipe.reader.get();
          pipe.put();
          context_->set_fd_handler(fd, {[this] { ++strange_; }, {}});
          if (random() % 2 == 0) std::this_thread::yield();
          context_->remove_fd_handler(fd);
        }
      }
      if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  void create() {
    context_ = testing::create_context(testing::small_ring_options());
    for (int i = 0; i < 40; ++i) requests_.push_back(std::make_unique<Request>(*this));
    for (auto& chain : chains_) {
      for (auto& link : chain) link = std::make_unique<testing::CountingHandler>();
    }
    for (auto& timer : timers_) timer = std::make_unique<Timer>(*context_, [this] { step(); });
    for (auto& bh : bottom_halves_) {
      bh = std::make_unique<BottomHalf>(*context_, [this] { step(); });
    }
  }

  void run(std::chrono::milliseconds length) {
    std::vector<std::thread> others;
    others.reserve(kOthers);
    for (int i = 0; i < kOthers; ++i)
      others.emplace_back([this, seed = random_()] { disturb(static_cast<unsigned>(seed)); });
    const auto end = std::chrono::steady_clock::now() + length;
    while (std::chrono::steady_clock::now() < end) {
      step();
      Timer limit(*context_, [] {});
      limit.arm_in(1'000'000);
      (void)testing::poll_blocking(*context_);
    }
    stop_ = true;
    for (std::thread& other : others) other.join();
    while (ran_ < posted_) (void)context_->poll(Blocking::kNo);
  }

  void end() {
    ending_ = true;
    for (auto& timer : timers_) timer.reset();
    for (auto& bh : bottom_halves_) bh.reset();
    context_.reset();
    EXPECT_EQ(completed_, submitted_);
    for (const auto& request : requests_) EXPECT_EQ(request->state(), CqeHandler::State::kIdle);
    for (const auto& chain : chains_) {
      for (const auto& link : chain) EXPECT_EQ(link->state(), CqeHandler::State::kIdle);
    }
    EXPECT_GT(steps_, 0U);
  }

  const unsigned seconds_ = from_environment("OURO_STRESS_SECONDS", 0);
  const unsigned seed_ = from_environment("OURO_STRESS_SEED", std::random_device{}());
  const testing::Watchdog watchdog_{testing::current_test_name(),
                                    std::chrono::seconds(60 + 2 * seconds_)};
  std::minstd_rand random_{seed_};
  std::array<Pipe, 6> pipes_;  // const, it would need an initializer
  const Pipe empty_{O_CLOEXEC};
  char sink_ = 0;
  std::unique_ptr<AioContext> context_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::array<std::array<std::unique_ptr<testing::CountingHandler>, kChainLength>, 3> chains_;
  std::array<std::unique_ptr<Timer>, 5> timers_;
  std::array<std::unique_ptr<BottomHalf>, 5> bottom_halves_;
  std::uint64_t submitted_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t strange_ = 0;
  std::atomic<std::uint64_t> posted_ = 0;
  std::uint64_t ran_ = 0;
  bool ending_ = false;
  std::atomic<bool> stop_ = false;
};

TEST_F(LoopStressTest, ARandomMixture) {
  std::printf("OURO_STRESS_SEED=%u\n", seed_);
  create();
  run(seconds_ == 0 ? std::chrono::milliseconds(1500) : std::chrono::seconds(seconds_));
  end();
}

}  // namespace
}  // namespace ouro::loop
