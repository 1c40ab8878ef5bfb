// The way that the data of an inode's openings takes, which is one for all of them: by requests to
// us, or past us, the file having been given away to be read and written without us.
//
// KERNEL(6.9): a client either has pages of a file or leaves its data to the file that it was given
// (fs/fuse/iomode.c): an opening of the other kind would be an error to whoever opens. It counts
// an opening after our answer and lets go before it tells us of the end; so what is counted here,
// from before the answer until after that end, is never less than what the client counts, and
// where this is none the way may be chosen anew.
//
// Any thread: the lock is held from the choice until it is counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "loop/result.hpp"
#include "passthrough/credentials.hpp"

namespace ouro::passthrough {

// To whom files are given. Any thread.
class GivenFiles {
 public:
  virtual ~GivenFiles() = default;
  // Gives the file behind `fd`, which is borrowed, under a number that is returned. What will be
  // done to it is done as `identity` (null: the daemon's own).
  [[nodiscard]] virtual loop::Result<int> give(int fd, const LastingCredentials* identity) = 0;
  virtual void take_back(int number) = 0;
};

enum class DataWay : std::uint8_t {
  kRequests,  // all of it comes to us, and the client may keep pages
  kGiven,     // none of it does
  kMixed,     // mappings are past us, what is read and written comes to us; no pages are kept
};

class IoMode {
 public:
  struct Opening {
    bool may_be_given = true;  // if it is the first of several
    bool writes = false;
    bool maps_writable = false;                // it may be mapped for stores
    bool by_requests = false;                  // wants kMixed rather than kGiven
    std::optional<LastingCredentials> writer;  // as whom it writes; empty: the daemon's own
  };

  // An opening that is counted, for as long as it lives; an empty one is not.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&& other) noexcept;
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { leave(); }

    [[nodiscard]] DataWay way() const { return way_; }
    // Under which the file was given; 0 where it was not.
    [[nodiscard]] int number() const { return number_; }
    // Why it was not, if this opening has tried.
    [[nodiscard]] int refusal() const { return refusal_; }
    // Whether it is the first by which the file may be changed unseen.
    [[nodiscard]] bool begins_unseen() const { return begins_unseen_; }

   private:
    friend class IoMode;
    void leave();

    std::shared_ptr<IoMode> mode_;
    DataWay way_ = DataWay::kRequests;
    int number_ = 0;
    int refusal_ = 0;
    bool begins_unseen_ = false;
  };

  // Counts an opening: the way in force is its way, and where there is none the file is given to
  // `files` if it may be, or requests are what is left. `fd`: of the file.
  [[nodiscard]] static Share join(const std::shared_ptr<IoMode>& mode,
                                  const std::shared_ptr<GivenFiles>& files, int fd,
                                  const Opening& opening);

  // Whether mappings may change the file without anybody telling us: since it was first given to
  // somebody who may map it for stores, and from then on, as a mapping outlives the descriptor.
  [[nodiscard]] bool changes_unseen() const { return unseen_.load(std::memory_order_relaxed); }

 private:
  void leave();

  std::mutex mutex_;
  std::uint32_t openings_ = 0;                // guarded by mutex_
  int number_ = 0;                            // the same; 0: by requests, or not open
  std::optional<LastingCredentials> writer_;  // as whom the file was given; the same
  std::weak_ptr<GivenFiles> given_to_;        // the same; empty once the mount has ended
  std::atomic<bool> unseen_ = false;
};

}  // namespace ouro::passthrough
