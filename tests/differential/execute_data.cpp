// Executors of calls that move or map file data.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "loop/unique_fd.hpp"
#include "tests/differential/call.hpp"
#include "tests/differential/executors.hpp"
#include "tests/differential/observe.hpp"
#include "tests/differential/outcome.hpp"
#include "tests/differential/payload.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

enum class Memory : std::int64_t { kAligned, kUnaligned, kBad };

// The buffer that a data call hands to the kernel.
class UserMemory {
 public:
  explicit UserMemory(const Call& call, std::size_t bytes)
      : memory_(static_cast<Memory>(call.number("memory"))),
        buffer_(bytes, memory_ == Memory::kUnaligned ? 1 : 0) {}

  [[nodiscard]] void* address() const {
    constexpr std::uintptr_t kUnmapped = 64;
    return memory_ == Memory::kBad ? reinterpret_cast<void*>(kUnmapped) : buffer_.data();
  }
  [[nodiscard]] const Buffer& buffer() const { return buffer_; }

 private:
  Memory memory_;
  Buffer buffer_;
};

std::size_t length_of(const Call& call) {
  return static_cast<std::size_t>(call.number("length"));
}

// Cuts the bytes into that many nearly equal pieces.
std::vector<iovec> cut(std::span<std::byte> bytes, std::int64_t pieces) {
  std::vector<iovec> vectors;
  const std::size_t each =
      bytes.size() / static_cast<std::size_t>(std::max<std::int64_t>(pieces, 1)) + 1;
  while (!bytes.empty()) {
    const std::size_t size = std::min(each, bytes.size());
    vectors.push_back({bytes.data(), size});
    bytes = bytes.subspan(size);
  }
  return vectors;
}

void finish_read(Outcome& outcome, ssize_t count, const Buffer& buffer) {
  if (outcome.finish(count)) outcome.text("data", describe(buffer.first(count)));
}

// What a write that O_DIRECT refuses has left behind shows at once, not only in what a later call
// reads. By a descriptor of its own, which no alignment binds; of what may not be opened any more
// by the same one, for a moment without O_DIRECT.
void finish_write(Outcome& outcome, ssize_t count, int fd) {
  if (outcome.finish(count) || outcome.error() != EINVAL) return;
  const int flags = ::fcntl(fd, F_GETFL);
  if ((flags & O_DIRECT) == 0) return;
  const loop::UniqueFd again(
      ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct ::stat stat {};
  if (::fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) return;
  if (!again) ::fcntl(fd, F_SETFL, flags & ~O_DIRECT);
  outcome.text("refused_data", describe_content(again ? again.get() : fd, stat.st_size));
  if (!again) ::fcntl(fd, F_SETFL, flags);
}

thread_local sigjmp_buf bus_error_exit;
thread_local volatile sig_atomic_t bus_error_expected = 0;

void on_bus_error(int) {
  if (bus_error_expected == 0) ::_exit(2);
  siglongjmp(bus_error_exit, 1);
}

// memcpy, one side of which is a mapping; false where the kernel says SIGBUS.
bool copy_guarded(void* to, const void* from, std::size_t bytes) {
  struct sigaction action {};
  action.sa_handler = on_bus_error;
  ::sigaction(SIGBUS, &action, nullptr);
  if (sigsetjmp(bus_error_exit, 1) != 0) {
    bus_error_expected = 0;
    return false;
  }
  bus_error_expected = 1;
  std::memcpy(to, from, bytes);
  bus_error_expected = 0;
  return true;
}

// Copies page by page, up to the first SIGBUS. The number of bytes copied.
std::size_t copy_pages(std::byte* to, const std::byte* from, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t page = std::min(kPageBytes, bytes - done);
    if (!copy_guarded(to + done, from + done, page)) break;
    done += page;
  }
  return done;
}

std::byte* map(Side& side, const Call& call, Outcome& outcome, int protection, int flags) {
  void* address = ::mmap(nullptr, length_of(call), protection, flags, side.fd(call.number("slot")),
                         call.number("offset"));
  return outcome.finish_quietly(address == MAP_FAILED ? -1 : 0) ? static_cast<std::byte*>(address)
                                                                : nullptr;
}

// With the attributes of that file.
bool is_same_file(int one, int other, struct ::stat& stat) {
  struct ::stat others {};
  return ::fstat(one, &stat) == 0 && ::fstat(other, &others) == 0 && S_ISREG(stat.st_mode) &&
         stat.st_ino == others.st_ino;
}

// -1 stands for "use the position of the descriptor".
off64_t* offset_or_null(std::int64_t& offset) {
  return offset == -1 ? nullptr : &offset;
}

}  // namespace

void execute_read(Side& side, const Call& call, Outcome& outcome) {
  const UserMemory memory(call, length_of(call));
  const ssize_t count = ::read(side.fd(call.number("slot")), memory.address(), length_of(call));
  finish_read(outcome, count, memory.buffer());
}

void execute_pread(Side& side, const Call& call, Outcome& outcome) {
  const UserMemory memory(call, length_of(call));
  const ssize_t count = ::pread(side.fd(call.number("slot")), memory.address(), length_of(call),
                                call.number("offset"));
  finish_read(outcome, count, memory.buffer());
}

void execute_readv(Side& side, const Call& call, Outcome& outcome) {
  const Buffer buffer(length_of(call));
  const auto vectors = cut({buffer.data(), buffer.size()}, call.number("pieces"));
  finish_read(
      outcome,
      ::readv(side.fd(call.number("slot")), vectors.data(), static_cast<int>(vectors.size())),
      buffer);
}

void execute_write(Side& side, const Call& call, Outcome& outcome) {
  const UserMemory memory(call, length_of(call));
  fill_pattern({memory.buffer().data(), length_of(call)}, call.number("fill"));
  const int fd = side.fd(call.number("slot"));
  finish_write(outcome, ::write(fd, memory.address(), length_of(call)), fd);
}

void execute_writev(Side& side, const Call& call, Outcome& outcome) {
  const Buffer buffer(length_of(call));
  fill_pattern({buffer.data(), buffer.size()}, call.number("fill"));
  const auto vectors = cut({buffer.data(), buffer.size()}, call.number("pieces"));
  const int fd = side.fd(call.number("slot"));
  finish_write(outcome, ::writev(fd, vectors.data(), static_cast<int>(vectors.size())), fd);
}

void execute_pwrite(Side& side, const Call& call, Outcome& outcome) {
  const UserMemory memory(call, length_of(call));
  fill_pattern({memory.buffer().data(), length_of(call)}, call.number("fill"));
  const int fd = side.fd(call.number("slot"));
  finish_write(outcome, ::pwrite(fd, memory.address(), length_of(call), call.number("offset")), fd);
}

void execute_pwritev2(Side& side, const Call& call, Outcome& outcome) {
  const Buffer buffer(length_of(call));
  fill_pattern({buffer.data(), buffer.size()}, call.number("fill"));
  const iovec vector{buffer.data(), buffer.size()};
  const int fd = side.fd(call.number("slot"));
  const auto flags = static_cast<int>(call.number("flags"));
  finish_write(outcome, ::pwritev2(fd, &vector, 1, call.number("offset"), flags), fd);
  if (outcome.error() != 0) return;
  // Where it was written shows at once, not only in what a later call reads.
  struct ::stat stat {};
  if (::fstat(fd, &stat) == 0) outcome.number("size", stat.st_size);
}

void execute_lseek(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::lseek(side.fd(call.number("slot")), call.number("offset"),
                         static_cast<int>(call.number("whence"))));
}

void execute_ftruncate(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::ftruncate(side.fd(call.number("slot")), call.number("size")));
}

void execute_truncate(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::truncate(expand_path(call.text("path")).c_str(), call.number("size")));
}

void execute_fallocate(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fallocate(side.fd(call.number("slot")), static_cast<int>(call.number("mode")),
                             call.number("offset"), call.number("length")));
}

void execute_copy_file_range(Side& side, const Call& call, Outcome& outcome) {
  std::int64_t from = call.number("from_offset");
  std::int64_t to = call.number("to_offset");
  const bool moves_from = from != -1;
  const bool moves_to = to != -1;
  if (!outcome.finish(::copy_file_range(side.fd(call.number("from")), offset_or_null(from),
                                        side.fd(call.number("to")), offset_or_null(to),
                                        length_of(call), 0))) {
    return;
  }
  if (moves_from) outcome.number("from_offset", from);
  if (moves_to) outcome.number("to_offset", to);
}

void execute_sendfile(Side& side, const Call& call, Outcome& outcome) {
  std::int64_t offset = call.number("offset");
  const int from = side.fd(call.number("from"));
  const int to = side.fd(call.number("to"));
  const ssize_t copied = ::sendfile(to, from, offset_or_null(offset), length_of(call));
  finish_write(outcome, copied, to);
  if (copied <= 0) return;
  const std::int64_t from_end = offset == -1 ? ::lseek(from, 0, SEEK_CUR) : offset;
  const std::int64_t to_end = ::lseek(to, 0, SEEK_CUR);
  struct ::stat stat {};
  // What is copied then depends on how it is; it shows at once, not only in what a later call
  // reads.
  if (is_same_file(from, to, stat) && std::abs(from_end - to_end) < copied) {
    outcome.text("overlapped_data", describe_content(from, stat.st_size));
  }
}

void execute_fsync(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fsync(side.fd(call.number("slot"))));
}

void execute_fdatasync(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::fdatasync(side.fd(call.number("slot"))));
}

void execute_mmap_store(Side& side, const Call& call, Outcome& outcome) {
  std::byte* mapping = map(side, call, outcome, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (mapping == nullptr) return;
  const Buffer pattern(length_of(call));
  fill_pattern({pattern.data(), pattern.size()}, call.number("fill"));
  outcome.number("stored",
                 static_cast<std::int64_t>(copy_pages(mapping, pattern.data(), length_of(call))));
  const auto sync = static_cast<int>(call.number("sync"));
  outcome.number("msync", sync == 0 ? 0 : ::msync(mapping, length_of(call), sync));
  ::munmap(mapping, length_of(call));
}

void execute_mmap_read(Side& side, const Call& call, Outcome& outcome) {
  const std::byte* mapping =
      map(side, call, outcome, PROT_READ, static_cast<int>(call.number("sharing")));
  if (mapping == nullptr) return;
  const Buffer copy(length_of(call));
  const std::size_t readable = copy_pages(copy.data(), mapping, length_of(call));
  const std::span<const std::byte> copied(copy.data(), readable);
  outcome.number("readable", static_cast<std::int64_t>(readable));
  // The last page goes on behind the end of the file, where it need not be zero.
  struct ::stat stat {};
  ::fstat(side.fd(call.number("slot")), &stat);
  const auto of_file = static_cast<std::size_t>(
      std::clamp<std::int64_t>(stat.st_size - call.number("offset"), 0, std::ssize(copied)));
  outcome.text("data", describe(copied.first(of_file)));
  if (of_file < readable) outcome.text("bytes_behind_end", describe(copied.subspan(of_file)));
  ::munmap(const_cast<std::byte*>(mapping), length_of(call));
}

}  // namespace ouro::differential
