// A CqeHandler that counts its completions and keeps the last one, with an optional callback.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "loop/cqe_handler.hpp"

namespace ouro::testing {

class CountingHandler final : public loop::CqeHandler {
 public:
  using Callback = std::function<void(CountingHandler&)>;

  CountingHandler() = default;
  explicit CountingHandler(Callback callback) : callback_(std::move(callback)) {}
  void set_callback(Callback callback) { callback_ = std::move(callback); }

  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] std::int32_t result() const { return last_.res; }
  [[nodiscard]] std::uint32_t flags() const { return last_.flags; }

 private:
  void on_cqe(const loop::Cqe& cqe) override {
    ++calls_;
    last_ = cqe;
    if (callback_) callback_(*this);
  }

  Callback callback_;
  std::uint64_t calls_ = 0;
  loop::Cqe last_;
};

}  // namespace ouro::testing
