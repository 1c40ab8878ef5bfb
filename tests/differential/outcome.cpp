#include "tests/differential/outcome.hpp"

#include <string.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace ouro::differential {
namespace {

template <typename T>
void put(std::string& bytes, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& bytes, std::string_view text) {
  put(bytes, static_cast<std::uint32_t>(text.size()));
  bytes.append(text);
}

template <typename T>
bool take(std::string_view& bytes, T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return true;
}

bool take_text(std::string_view& bytes, std::string& text) {
  std::uint32_t size = 0;
  if (!take(bytes, size) || bytes.size() < size) return false;
  text = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

}  // namespace

bool Outcome::finish(std::int64_t result) {
  result_ = result;
  error_ = result < 0 ? errno : 0;
  return result >= 0;
}

bool Outcome::finish_quietly(std::int64_t result) {
  const bool succeeded = finish(result);
  if (succeeded) result_ = 0;
  return succeeded;
}

void Outcome::number(std::string name, std::int64_t value) {
  facts_.push_back({std::move(name), FactKind::kNumber, value, {}});
}

void Outcome::octal(std::string name, std::int64_t value) {
  facts_.push_back({std::move(name), FactKind::kOctal, value, {}});
}

void Outcome::sectors(std::string name, std::int64_t value) {
  facts_.push_back({std::move(name), FactKind::kSectors, value, {}});
}

void Outcome::text(std::string name, std::string value) {
  facts_.push_back({std::move(name), FactKind::kText, 0, std::move(value)});
}

void Outcome::time(std::string name, std::int64_t nanoseconds) {
  facts_.push_back({std::move(name), FactKind::kTime, nanoseconds, {}});
}

void Outcome::access_time(std::string name, std::int64_t nanoseconds) {
  facts_.push_back({std::move(name), FactKind::kAccessTime, nanoseconds, {}});
}

const Fact* Outcome::find(std::string_view name) const {
  for (const Fact& fact : facts_) {
    if (fact.name == name) return &fact;
  }
  return nullptr;
}

std::string Outcome::encode() const {
  std::string bytes;
  put(bytes, result_);
  put(bytes, error_);
  put(bytes, when);
  put(bytes, static_cast<std::uint32_t>(facts_.size()));
  for (const Fact& fact : facts_) {
    put_text(bytes, fact.name);
    put(bytes, fact.kind);
    put(bytes, fact.number);
    put_text(bytes, fact.text);
  }
  return bytes;
}

std::optional<Outcome> Outcome::decode(std::string_view bytes) {
  Outcome outcome;
  std::uint32_t count = 0;
  if (!take(bytes, outcome.result_) || !take(bytes, outcome.error_) || !take(bytes, outcome.when) ||
      !take(bytes, count)) {
    return std::nullopt;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    Fact fact;
    if (!take_text(bytes, fact.name) || !take(bytes, fact.kind) || !take(bytes, fact.number) ||
        !take_text(bytes, fact.text)) {
      return std::nullopt;
    }
    outcome.facts_.push_back(std::move(fact));
  }
  return outcome;
}

std::int64_t to_nanoseconds(const timespec& time) {
  constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
  constexpr std::int64_t kMaxSeconds =
      std::numeric_limits<std::int64_t>::max() / kNanosecondsPerSecond - 1;
  // Beyond the years 1677..2262 only the second counts: as a number far outside of any test run.
  if (time.tv_sec > kMaxSeconds) return std::numeric_limits<std::int64_t>::max() - time.tv_sec;
  if (time.tv_sec < -kMaxSeconds) return std::numeric_limits<std::int64_t>::min() - time.tv_sec;
  return time.tv_sec * kNanosecondsPerSecond + time.tv_nsec;
}

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return to_nanoseconds(now);
}

std::string errno_name(int error) {
  if (error == 0) return "ok";
  const char* name = ::strerrorname_np(error);
  return name == nullptr ? "errno " + std::to_string(error) : name;
}

}  // namespace ouro::differential
