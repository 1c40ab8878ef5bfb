#include "passthrough/io_mode.hpp"

#include <utility>

namespace ouro::passthrough {

IoMode::Share& IoMode::Share::operator=(Share&& other) noexcept {
  if (this == &other) return *this;
  leave();
  mode_ = std::move(other.mode_);
  way_ = other.way_;
  number_ = other.number_;
  refusal_ = other.refusal_;
  begins_unseen_ = other.begins_unseen_;
  return *this;
}

void IoMode::Share::leave() {
  if (const auto mode = std::exchange(mode_, nullptr)) mode->leave();
}

IoMode::Share IoMode::join(const std::shared_ptr<IoMode>& mode,
                           const std::shared_ptr<GivenFiles>& files, int fd,
                           const Opening& opening) {
  Share share;
  share.mode_ = mode;
  const std::lock_guard lock(mode->mutex_);
  if (mode->openings_++ == 0 && opening.may_be_given) {
    const auto number = files->give(fd, opening.writer ? &*opening.writer : nullptr);
    if (!number) share.refusal_ = number.error().value();
    mode->number_ = number.value_or(0);
    mode->writer_ = opening.writer;
    mode->given_to_ = files;
  }
  share.number_ = mode->number_;
  if (share.number_ == 0) return share;
  // Who writes as somebody else must not do it as who has come first.
  const bool is_another = opening.writes && opening.writer != mode->writer_;
  share.way_ = opening.by_requests || is_another ? DataWay::kMixed : DataWay::kGiven;
  if (opening.maps_writable) share.begins_unseen_ = !mode->unseen_.exchange(true);
  return share;
}

void IoMode::leave() {
  const std::lock_guard lock(mutex_);
  if (--openings_ > 0 || number_ == 0) return;
  const int number = std::exchange(number_, 0);
  if (const auto files = given_to_.lock()) files->take_back(number);
}

}  // namespace ouro::passthrough
