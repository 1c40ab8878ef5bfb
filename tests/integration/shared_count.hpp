// A number that the processes of a test share. Made by the parent, before it forks.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <new>

namespace ouro::testing {

class SharedCount {
 public:
  SharedCount()
      : memory_(::mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    new (memory_) Count(0);
  }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;
  ~SharedCount() { ::munmap(memory_, sizeof(Count)); }

  [[nodiscard]] std::atomic<long>& operator*() const { return *static_cast<Count*>(memory_); }

 private:
  using Count = std::atomic<long>;
  void* memory_;
};

}  // namespace ouro::testing
