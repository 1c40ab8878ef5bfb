// The locks of clients on files of the source, and the clients that wait for one.
//
// A wait holds nobody up: it is a small record here, not a thread, a worker or a slot of a request.
// One thread tries again for all of them: whenever a lock of the file was given up through us, and
// after a pause that grows to kLongestPauseNs, since nothing tells of what was unlocked natively.
// (To wait in F_OFD_SETLKW instead would take a thread for each wait, and a signal to end it.) The
// order is that in which they came: who wants what an earlier one still waits for is not tried,
// but for the turns after the longest pause, when everybody is, so that what keeps an earlier one
// waiting elsewhere does not keep others. Who comes just when a lock is free has it, as natively.
//
// Any thread, but for what says otherwise. The thread is started with the first wait.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "passthrough/lock_table.hpp"

namespace ouro::passthrough {

// Who is told that a wait is over.
class LockListener {
 public:
  // `errno_value`: 0 if the lock is held now. Any thread; must not block, nor call FileLocks.
  virtual void lock_wait_ended(std::uint64_t id, int errno_value) = 0;

 protected:
  ~LockListener() = default;
};

enum class LockWait : std::uint8_t { kNone, kBegun };

class FileLocks {
 public:
  static constexpr std::int64_t kShortestPauseNs = 1'000'000;
  static constexpr std::int64_t kLongestPauseNs = 64'000'000;
  static constexpr std::size_t kMaxWaiting = 4096;

  FileLocks() = default;
  FileLocks(const FileLocks&) = delete;
  FileLocks& operator=(const FileLocks&) = delete;
  // Whoever waits has been told before, by abandon().
  ~FileLocks();

  // See LockTable.
  [[nodiscard]] loop::Status lock(const LockRequest& request);
  [[nodiscard]] loop::Result<std::optional<HeldLock>> conflict(const LockRequest& request) {
    return table_.conflict(request);
  }
  // The same as lock(), but where that is EAGAIN a wait begins, whose end `listener` is told, maybe
  // before this returns. Errors: EDEADLK if whoever has the lock waits for this owner; ENOLCK if
  // too many wait.
  [[nodiscard]] loop::Result<LockWait> lock_or_wait(const LockRequest& request, std::uint64_t id,
                                                    LockListener& listener);
  // Ends a wait with EINTR, or with success if it has just been granted. False: there is no such.
  bool cancel(std::uint64_t id);
  // Ends all waits of a listener with ENOLCK. Then it is not called any more.
  void abandon(const LockListener& listener);

  // A process closes the file, by whatever descriptor: all its ranges are unlocked.
  void close_owner(const FileHandle& file, LockOwner owner);
  // An open file of the client is closed for good. The result unlocks what was locked by it when
  // it goes, and is to be dropped where that may take long.
  enum class Flock : std::uint8_t { kNone, kUnlock };
  [[nodiscard]] std::shared_ptr<const void> release(std::shared_ptr<FileHandle> file,
                                                    std::uint64_t handle, Flock flock);

  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] const LockTable& table() const { return table_; }

 private:
  struct Wait {
    LockRequest request;
    std::uint64_t id;
    LockListener* listener;
    bool due = true;         // to be tried at the next turn
    bool cancelled = false;  // while it is being tried
  };
  using Waits = std::list<Wait>;
  class LetGo;

  void gave_up(const FileKey& key);
  void mark_due(const FileKey& key);
  [[nodiscard]] bool closes_circle(const LockRequest& wanted) const;
  [[nodiscard]] loop::Status start_thread();
  void serve();
  enum class Turn : std::uint8_t { kInOrder, kEverybody };
  void try_due(std::unique_lock<std::mutex>& lock, Turn turn);
  [[nodiscard]] bool is_behind(const Wait& wait) const;
  [[nodiscard]] Waits::iterator try_one(std::unique_lock<std::mutex>& lock, Waits::iterator wait);
  Waits::iterator end_wait(Waits::iterator wait, int errno_value);

  LockTable table_;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  Waits waits_;  // in the order they came
  const Wait* trying_ = nullptr;
  std::vector<LockRequest> refused_;  // in this turn
  bool due_ = false;                  // some wait is
  bool stopping_ = false;
  std::thread thread_;

  std::condition_variable wake_;   // of the thread
  std::condition_variable tried_;  // trying_ is null again
};

}  // namespace ouro::passthrough
