// ouro-differential: native as the oracle. The same random calls run on a native directory and
// through a mount of another one; every result, and the trees at the end, must be the same.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "tests/differential/call_table.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/investigate.hpp"
#include "tests/differential/known_differences.hpp"
#include "tests/differential/options.hpp"
#include "tests/differential/report.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/worker.hpp"

namespace ouro::differential {
namespace {

constexpr int kExitSame = 0;
constexpr int kExitDifferent = 1;
constexpr int kExitTrouble = 2;
constexpr const char* kScratchName = "ouro-differential";

[[noreturn]] void give_up(const std::string& reason) {
  fmt::print(stderr, "ouro-differential: {}\n", reason);
  std::fflush(nullptr);
  ::_exit(kExitTrouble);  // a worker that hangs in the mount could not be waited for
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) give_up(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

KnownDifferences load_known(const std::string& path) {
  std::string complaint;
  auto known = KnownDifferences::parse(read_file(path), complaint);
  if (!known) give_up(path + ": " + complaint);
  return *std::move(known);
}

// Every few seconds on a terminal, every 50 sequences elsewhere.
class Progress {
 public:
  void step(std::uint64_t done, std::uint64_t all, std::uint64_t calls) {
    constexpr std::uint64_t kEvery = 50;
    constexpr auto kPeriod = std::chrono::seconds(2);
    const auto now = std::chrono::steady_clock::now();
    if (is_terminal_ ? now - last_ < kPeriod : done % kEvery != 0) return;
    last_ = now;
    fmt::print("{}{}/{} sequences, {} calls{}", is_terminal_ ? "\r" : "", done, all, calls,
               is_terminal_ ? "" : "\n");
    std::fflush(stdout);
  }
  void finish() const {
    if (is_terminal_) fmt::print("\n");
  }

 private:
  bool is_terminal_ = ::isatty(STDOUT_FILENO) == 1;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class Program {
 public:
  explicit Program(Options options)
      : options_(std::move(options)),
        known_(load_known(options_.known_file)),
        workers_(start_workers()),
        runner_({options_.sides, kScratchName, options_.known_policy, timeout_s(), options_.cache,
                 nullptr},
                *workers_, known_) {}

  int run_all() {
    Progress progress;
    for (std::uint64_t i = 0; i < options_.sequences && failures_ < options_.max_failures; ++i) {
      run_one(generate_sequence(options_.shape, options_.first_sequence + i));
      progress.step(i + 1, options_.sequences, tally_.calls);
    }
    progress.finish();
    return summarize();
  }

  int replay() {
    std::string bad_line;
    const auto sequence =
        parse_replay(read_file(options_.replay_file), workers_->names(), bad_line);
    if (!sequence) give_up(options_.replay_file + ": this is no call: " + bad_line);
    run_one(*sequence);
    return summarize();
  }

 private:
  [[nodiscard]] unsigned timeout_s() const {
    return static_cast<unsigned>(options_.timeout_ms / 1000);
  }

  std::unique_ptr<Workers> start_workers() {
    auto workers = Workers::create(make_identities(options_.users), options_.timeout_ms);
    if (!workers) give_up(std::string("fork: ") + ::strerror(workers.error().value()));
    return *std::move(workers);
  }

  [[noreturn]] void give_up_on(const Sequence& sequence, loop::Errno error) const {
    give_up(fmt::format("{}: {} (seed {}, sequence {})", runner_.trouble(),
                        ::strerror(error.value()), sequence.seed, sequence.number));
  }

  void run_one(const Sequence& sequence) {
    auto failure = runner_.run(sequence, tally_);
    if (!failure) give_up_on(sequence, failure.error());
    if (!*failure) return;
    ++failures_;
    const auto report = investigate(runner_, sequence, **failure, options_.max_replays);
    if (!report) give_up_on(sequence, report.error());
    const std::string command = reproduce_command(sequence);
    fmt::print("{}", format_report(*report, workers_->names(), command, Detail::kBrief));
    if (options_.report_file.empty()) return;
    std::ofstream(options_.report_file, std::ios::app)
        << format_report(*report, workers_->names(), command, Detail::kFull);
  }

  std::string reproduce_command(const Sequence& sequence) const {
    if (options_.action == Action::kReplay) return "--replay " + options_.replay_file;
    return fmt::format(
        "ouro-differential --native {} --mount {} --mount-source {} --seed {} --sequence {} "
        "--calls {} --paced {} --cache {}{}",
        options_.sides.native, options_.sides.mount, options_.sides.mount_source, sequence.seed,
        sequence.number, options_.shape.calls, options_.shape.paced_every, options_.cache,
        options_.users == Users::kSeveral ? " --users" : "");
  }

  int summarize() {
    fmt::print("{}", format_summary(tally_, known_, failures_, options_.unused));
    return failures_ == 0 ? kExitSame : kExitDifferent;
  }

  Options options_;
  KnownDifferences known_;
  std::unique_ptr<Workers> workers_;
  Runner runner_;
  Tally tally_;
  std::size_t failures_ = 0;
};

int dump(const Options& options) {
  std::vector<std::string> names;
  for (const Identity& identity : make_identities(options.users)) names.push_back(identity.name);
  for (std::uint64_t i = 0; i < options.sequences; ++i) {
    const Sequence sequence = generate_sequence(options.shape, options.first_sequence + i);
    fmt::print("# sequence {} of seed {}\n", sequence.number, sequence.seed);
    for (const Call& call : sequence.calls) fmt::print("{}\n", format_call(call, names));
  }
  return kExitSame;
}

int list_calls() {
  for (const CallRow& row : call_table()) {
    std::string line = row.name;
    for (const Parameter& parameter : row.parameters()) line += std::string(" ") + parameter.name;
    fmt::print("{}\n", line);
  }
  return kExitSame;
}

int run(Options options) {
  switch (options.action) {
    case Action::kHelp:
      fmt::print("{}", usage());
      return kExitSame;
    case Action::kListCalls:
      return list_calls();
    case Action::kDump:
      return dump(options);
    case Action::kReplay:
      return Program(std::move(options)).replay();
    case Action::kRun:
      break;
  }
  return Program(std::move(options)).run_all();
}

}  // namespace
}  // namespace ouro::differential

int main(int argc, char** argv) {
  std::string complaint;
  auto options = ouro::differential::parse_options(argc, argv, complaint);
  if (!options) {
    fmt::print(stderr, "ouro-differential: {}\n", complaint);
    return 2;
  }
  if (options->known_file.empty()) options->known_file = OURO_KNOWN_DIFFERENCES;
  return ouro::differential::run(*std::move(options));
}
