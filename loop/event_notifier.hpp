// An eventfd that wakes a loop. set() may be called from any thread and from signal handlers.
#pragma once

#include "loop/result.hpp"
#include "loop/unique_fd.hpp"

namespace ouro::loop {

class EventNotifier {
 public:
  // Errors: EMFILE, ENFILE, ENOMEM.
  [[nodiscard]] static Result<EventNotifier> create();

  // Makes the fd readable. Any thread; async-signal-safe.
  void set() const;
  // Makes the fd unreadable again; true if it was readable.
  bool test_and_clear() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit EventNotifier(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace ouro::loop
