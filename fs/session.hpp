// A served mount: the handshake with the kernel, and the loops that answer it, one thread each.
// The first loop is that of the thread which creates the session, where the program puts its
// signals and other fds beside the requests.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fs/connection.hpp"
#include "fs/kernel_backing.hpp"
#include "fs/serving_loop.hpp"

namespace ouro::fs {

// How requests are to come. kAuto: by the ring where the kernel offers that.
enum class TransportChoice : std::uint8_t { kAuto, kDev, kRing };

struct SessionOptions {
  CachePolicy cache;
  std::uint64_t init_flags = 0;  // of FUSE_INIT, that options ask for besides the policy's
  std::uint32_t max_write_bytes = 1U << 20;          // as HandshakeOptions
  std::optional<std::uint32_t> max_readahead_bytes;  // likewise
  TransportChoice transport = TransportChoice::kDev;
  std::size_t queue_depth = RingTransport::Options().depth;  // of each queue of RingTransport
  Backing backing = Backing::kRing;                          // of the data that comes by requests
  KernelBackingOptions kernel_backing;
  Metadata metadata = Metadata::kInline;
  Tracing tracing = Tracing::kOff;  // a debug line for every request and reply
  std::optional<uid_t> only_user;   // see Connection
};

class Session final : private InterruptRelay {
 public:
  // `channels`: non-blocking descriptors of one FUSE connection, one per loop, the first one
  // libfuse's and the others clones of it; borrowed for the session's life. Performs FUSE_INIT and
  // starts the other loops' threads; requests are not taken yet. Errors: those of handshake(), of
  // rings, slots and threads.
  [[nodiscard]] static loop::Result<std::unique_ptr<Session>> create(
      std::vector<int> channels, passthrough::Tree& tree,
      const passthrough::ProcessIdentity& identity, const SessionOptions& options,
      loop::LogSink log);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // The first loop's context; use it in the creating thread only.
  [[nodiscard]] loop::AioContext& home();
  [[nodiscard]] const Connection& connection() const { return connection_; }

  // Serves until unmounted, aborted or drained; returns when every loop has answered what it had.
  // The result says why the kernel ended the connection, if it did.
  std::optional<Disconnect> run();
  // Ends run(): takes no more requests, finishes those in progress. Any loop's thread.
  void drain();
  // Whether no request is in progress and none waits to be taken. A look, not a promise: one that
  // is just being taken is in neither place. Any thread.
  [[nodiscard]] bool is_idle();
  // What is really at work, as ServingLoop::modes(). With a transport of which the kernel has taken
  // only a part, what it says is that of a loop without.
  [[nodiscard]] const std::string& modes() const;
  // Logs a line for every loop.
  void post_statistics();

 private:
  Session(std::vector<int> channels, passthrough::Tree& tree,
          const passthrough::ProcessIdentity& identity, const SessionOptions& options,
          loop::LogSink log);

  enum class Phase : std::uint8_t { kStarting, kServing, kStopping };

  void report_refusal(TransportChoice wanted, const std::string& obstacle) const;
  // After the handshake.
  void begin_kernel_backing(const KernelBackingOptions& options, std::string refusal);
  [[nodiscard]] loop::Status start_loops();
  void loop_thread(unsigned number);
  void serve(unsigned number);
  void enter(Phase phase);
  void relay_interrupt(const Server& from, std::uint64_t unique) override;

  const std::vector<int> channels_;
  Connection connection_;
  std::optional<KernelBacking> kernel_backing_;
  const Shared shared_;
  // By number. Fixed while any of them serves; otherwise guarded by mutex_.
  std::vector<std::unique_ptr<ServingLoop>> loops_;
  std::vector<std::thread> threads_;  // of the loops but the first

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  Phase phase_ = Phase::kStarting;
  std::size_t reported_ = 0;  // loops that were created, or failed to be
  std::size_t serving_ = 0;   // loops that have not finished
  int start_error_ = 0;
};

}  // namespace ouro::fs
