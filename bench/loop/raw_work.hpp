// The work of the programs that drive an io_uring by hand. `Ring` has next(), which gives a free
// SQE, and turn(), which submits, waits and returns how many completions came.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>

#include "bench/loop/workload.hpp"

namespace ouro::bench {

// Takes every completion there is; how many.
inline std::size_t take_cqes(io_uring& ring) {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring, head, cqe) {
    require(cqe->res >= 0, "a request");
    ++count;
  }
  ::io_uring_cq_advance(&ring, count);
  return count;
}

// `count` NOPs a turn.
template <typename Ring>
void run_nops(benchmark::State& state, Ring& ring, std::size_t count) {
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) ::io_uring_prep_nop(&ring.next());
    for (std::size_t done = 0; done < count;) done += ring.turn();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(count));
}

// Reads of a file in the page cache, kDepth at a time. `flags`: IOSQE_*.
template <typename Ring>
void run_file_reads(benchmark::State& state, Ring& ring, unsigned flags = 0) {
  CachedFile file;
  Buffers buffers(kDepth);
  for (auto _ : state) {
    for (auto& buffer : buffers) {
      io_uring_sqe& sqe = ring.next();
      ::io_uring_prep_read(&sqe, file.fd.get(), buffer.data(), kBlockBytes, file.next_offset());
      ::io_uring_sqe_set_flags(&sqe, flags);
    }
    for (std::size_t done = 0; done < kDepth;) done += ring.turn();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kDepth));
}

}  // namespace ouro::bench
