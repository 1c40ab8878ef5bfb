// Error values. A system call's return is a KernelResult (value or -errno) for exactly one line;
// everything above speaks Result<T>. Used by every room; no state, no threads.
#pragma once

#include <cerrno>
#include <cstdint>
#include <utility>

#include <tl/expected.hpp>

namespace ouro::loop {

// What a system call or a CQE gives back: a value >= 0, or -errno.
using KernelResult = std::int64_t;

// A positive errno value. Never 0: success is the absence of an Errno.
class Errno {
 public:
  constexpr explicit Errno(int value) : value_(value) {}
  [[nodiscard]] constexpr int value() const { return value_; }
  friend constexpr bool operator==(Errno, Errno) = default;

 private:
  int value_;
};

template <typename T>
using Result = tl::expected<T, Errno>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Errno> fail(int errno_value) {
  return tl::unexpected<Errno>(Errno(errno_value));
}

// Turns the -1-and-errno convention of libc wrappers into a KernelResult; call it on the same line.
[[nodiscard]] inline KernelResult from_libc(std::int64_t rc) {
  return rc < 0 ? -errno : rc;
}

// Turns a KernelResult into a Result with the value, or with the errno it carries.
[[nodiscard]] inline Result<std::int64_t> to_result(KernelResult result) {
  if (result < 0) return fail(static_cast<int>(-result));
  return result;
}

[[nodiscard]] inline Status to_status(KernelResult result) {
  if (result < 0) return fail(static_cast<int>(-result));
  return {};
}

}  // namespace ouro::loop

// OURO_TRY(expr): returns the error of a Result from the enclosing function, if it has one.
#define OURO_TRY(expr)                                               \
  do {                                                               \
    if (auto ouro_try_ = (expr); !ouro_try_) {                       \
      return tl::unexpected<::ouro::loop::Errno>(ouro_try_.error()); \
    }                                                                \
  } while (false)

#define OURO_CONCAT_(a, b) a##b
#define OURO_CONCAT(a, b) OURO_CONCAT_(a, b)

// OURO_TRY_ASSIGN(declaration, expr): the same, and binds the value: OURO_TRY_ASSIGN(auto fd,
// open());
#define OURO_TRY_ASSIGN(declaration, expr) \
  OURO_TRY_ASSIGN_(OURO_CONCAT(ouro_try_, __LINE__), declaration, expr)
#define OURO_TRY_ASSIGN_(name, declaration, expr)                      \
  auto name = (expr);                                                  \
  if (!name) return tl::unexpected<::ouro::loop::Errno>(name.error()); \
  declaration = *std::move(name)
