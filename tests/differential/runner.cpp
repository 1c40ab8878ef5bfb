#include "tests/differential/runner.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <set>
#include <string>
#include <utility>

#include "tests/differential/parameters.hpp"

namespace ouro::differential {
namespace {

constexpr unsigned long kXfsMagic = 0x58465342;

// Xfs allocates ahead of the end of a file that grows, and takes it back when it likes.
constexpr std::int64_t kXfsSlackSectors = 4096;

std::string filesystem_name(const std::string& path) {
  struct statfs filesystem {};
  if (::statfs(path.c_str(), &filesystem) != 0) return "unknown";
  switch (static_cast<unsigned long>(filesystem.f_type)) {
    case EXT4_SUPER_MAGIC:
      return "ext4";
    case kXfsMagic:
      return "xfs";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case TMPFS_MAGIC:
      return "tmpfs";
    default:
      return "other";
  }
}

// While it exists, time runs out.
class Deadline {
 public:
  explicit Deadline(unsigned seconds) { ::alarm(seconds); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { ::alarm(0); }
};

// Waits until the coarse clock has moved on, so that the next call has stamps of its own.
void wait_for_tick() {
  timespec resolution{};
  ::clock_getres(CLOCK_REALTIME_COARSE, &resolution);
  const std::int64_t before = clock_ns(CLOCK_REALTIME_COARSE);
  const timespec pause{0, resolution.tv_nsec / 4};
  do {
    ::nanosleep(&pause, nullptr);
  } while (clock_ns(CLOCK_REALTIME_COARSE) <= before);
}

}  // namespace

// The state of one run.
class Runner::Run {
 public:
  Run(Runner& runner, const Sequence& sequence, Tally& tally, Scratch scratch)
      : runner_(runner), sequence_(sequence), tally_(tally), scratch_(std::move(scratch)) {
    yardstick_.native.add(scratch_.native_made());
    yardstick_.mount.add(scratch_.mount_made());
    if (runner.filesystem_ == "xfs") yardstick_.slack_sectors = kXfsSlackSectors;
    if (sequence.pace == Pace::kFull) yardstick_.access_times = AccessTimes::kExplicitOnly;
  }

  loop::Result<std::optional<Failure>> run() {
    OURO_TRY(runner_.workers_.begin(scratch_.native_root(), scratch_.mount_root()));
    OURO_TRY_ASSIGN(Verdict verdict, run_calls());
    if (verdict == Verdict::kSame) {
      OURO_TRY_ASSIGN(verdict, compare_final("tree-mount"));
    }
    OURO_TRY(runner_.workers_.end());
    if (verdict == Verdict::kSame) {
      OURO_TRY_ASSIGN(verdict, compare_final("tree-source"));
    }
    const Deadline deadline(runner_.setup_.timeout_s);
    const std::vector<std::string> left = scratch_.remove();
    if (!left.empty() && verdict != Verdict::kFailed) fail_cleanup(left);
    if (verdict == Verdict::kEnd) ++tally_.ended_early;
    ++tally_.sequences;
    return std::move(failure_);
  }

 private:
  loop::Result<Verdict> run_calls() {
    for (std::size_t i = 0; i < sequence_.calls.size(); ++i) {
      const Call& call = sequence_.calls[i];
      if (sequence_.pace == Pace::kTick) wait_for_tick();
      auto outcomes = runner_.workers_.execute(call);
      if (!outcomes) {
        runner_.trouble_ = runner_.workers_.trouble() + " to call " + std::to_string(i + 1) + ", " +
                           format_call(call, runner_.workers_.names());
        return loop::fail(outcomes.error().value());
      }
      if (runner_.setup_.distort_mount) runner_.setup_.distort_mount(call, outcomes->mount);
      yardstick_.native.add(outcomes->native.when);
      yardstick_.mount.add(outcomes->mount.when);
      count(call, outcomes->native);
      const Verdict verdict = judge_call(i, call, *outcomes);
      if (verdict != Verdict::kSame) return verdict;
    }
    return Verdict::kSame;
  }

  void count(const Call& call, const Outcome& native) {
    calls_so_far_.insert(call.row->name);
    if (gives_bad_memory(call)) calls_so_far_.insert("bad-memory");
    Tally::Count& kind = tally_.by_kind[call.row->name];
    ++tally_.calls;
    ++kind.calls;
    if (native.error() == 0) ++kind.succeeded;
    if (native.error() != 0) ++kind.errors[native.error()];
  }

  Verdict judge_call(std::size_t index, const Call& call, const BothOutcomes& outcomes) {
    Verdict verdict = Verdict::kSame;
    for (const Difference& difference :
         compare_outcomes(outcomes.native, outcomes.mount, yardstick_)) {
      const bool by_root =
          runner_.workers_.names()[static_cast<std::size_t>(call.identity)] == std::string("root");
      verdict = std::max(verdict, judge(index, {call.row->name, &call, &outcomes.native,
                                                &difference, runner_.filesystem_, by_root,
                                                runner_.setup_.cache, &calls_so_far_}));
    }
    return verdict;
  }

  Verdict judge(std::size_t index, const Sighting& sighting) {
    const KnownDifference* known = runner_.known_.find(sighting);
    if (known == nullptr) {
      if (!failure_) failure_ = Failure{index, sighting.call, {}};
      failure_->differences.push_back(*sighting.difference);
      return Verdict::kFailed;
    }
    ++tally_.known[known->id];
    const bool ends =
        known->then == Then::kEndSequence || runner_.setup_.known_policy == KnownPolicy::kAlwaysEnd;
    return ends ? Verdict::kEnd : Verdict::kSame;
  }

  loop::Result<Verdict> compare_final(const char* which) {
    const bool through_mount = which == std::string("tree-mount");
    if (sequence_.pace == Pace::kTick) wait_for_tick();
    const Deadline deadline(runner_.setup_.timeout_s);
    OURO_TRY_ASSIGN(const auto native_top, scratch_.open_native());
    OURO_TRY_ASSIGN(const Tree native, walk_tree(native_top.get()));
    OURO_TRY_ASSIGN(const auto mount_top,
                    through_mount ? scratch_.open_mount() : scratch_.open_mount_source());
    OURO_TRY_ASSIGN(const Tree mount, walk_tree(mount_top.get()));
    yardstick_.native.add(native.when);
    yardstick_.mount.add(mount.when);
    Verdict verdict = Verdict::kSame;
    for (const TreeDifference& found : compare_trees(native, mount, yardstick_)) {
      verdict = std::max(
          verdict, judge(sequence_.calls.size(),
                         {which, nullptr, found.native, &found.difference, runner_.filesystem_,
                          false, runner_.setup_.cache, &calls_so_far_}));
    }
    return verdict;
  }

  void fail_cleanup(const std::vector<std::string>& left) {
    failure_ = Failure{sequence_.calls.size(), "cleanup", {}};
    for (const std::string& path : left) {
      failure_->differences.push_back(
          {"exists", "removed", "left over", Relation::kNone, FactKind::kText, path});
    }
  }

  Runner& runner_;
  const Sequence& sequence_;
  Tally& tally_;
  Scratch scratch_;
  Yardstick yardstick_;
  std::optional<Failure> failure_;
  std::set<std::string> calls_so_far_;
};

Runner::Runner(Setup setup, Workers& workers, const KnownDifferences& known)
    : setup_(std::move(setup)),
      workers_(workers),
      known_(known),
      filesystem_(filesystem_name(setup_.sides.native)) {}

loop::Result<std::optional<Failure>> Runner::run(const Sequence& sequence, Tally& tally) {
  trouble_ = "cannot make, walk or remove the directories of the sequence";
  std::optional<Deadline> deadline(setup_.timeout_s);
  OURO_TRY_ASSIGN(Scratch scratch, Scratch::create(setup_.sides, setup_.scratch_name));
  deadline.reset();
  return Run(*this, sequence, tally, std::move(scratch)).run();
}

}  // namespace ouro::differential
