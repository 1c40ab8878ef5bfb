// What the processes of a test share. Made by the parent, before it forks.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <new>

namespace ouro::testing {

template <typename T>
class SharedMemory {
 public:
  SharedMemory()
      : memory_(
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    new (memory_) T{};
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(memory_, sizeof(T)); }

  [[nodiscard]] T& operator*() const { return *static_cast<T*>(memory_); }
  [[nodiscard]] T* operator->() const { return static_cast<T*>(memory_); }

 private:
  void* memory_;
};

using SharedCount = SharedMemory<std::atomic<long>>;

}  // namespace ouro::testing
