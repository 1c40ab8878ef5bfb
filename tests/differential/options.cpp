#include "tests/differential/options.hpp"

#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>
#include <limits>
#include <string_view>

#include <fmt/format.h>

namespace ouro::differential {
namespace {

constexpr std::uint64_t kMaxNumber = std::numeric_limits<std::int64_t>::max();

template <typename T>
bool set_number(T& target, std::string_view text, std::uint64_t max = kMaxNumber) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return false;
  target = static_cast<T>(value);
  return true;
}

// Sides are kept absolute: the program changes its working directory.
bool set_directory(std::string& target, const char* text) {
  char* resolved = ::realpath(text, nullptr);
  if (resolved == nullptr) return false;
  target = resolved;
  ::free(resolved);
  return true;
}

bool set_text(std::string& target, const char* text) {
  target = text;
  return !target.empty();
}

template <typename T>
bool set(T& target, T value) {
  target = value;
  return true;
}

struct Row {
  const char* name;
  const char* value;  // null: takes none
  const char* help;
  bool (*apply)(Options&, const char*);
};

constexpr Row kRows[] = {
    {"native", "DIR", "run natively below DIR",
     [](Options& o, const char* v) { return set_directory(o.sides.native, v); }},
    {"mount", "DIR", "run below DIR, through the mount",
     [](Options& o, const char* v) { return set_directory(o.sides.mount, v); }},
    {"mount-source", "DIR", "the directory which is mounted there",
     [](Options& o, const char* v) { return set_directory(o.sides.mount_source, v); }},
    {"seed", "N", "of the random sequences (1)",
     [](Options& o, const char* v) { return set_number(o.shape.seed, v); }},
    {"sequences", "N", "how many sequences (200)",
     [](Options& o, const char* v) { return set_number(o.sequences, v); }},
    {"sequence", "K", "only sequence K, with the same --seed, --calls and --users",
     [](Options& o, const char* v) {
       return set_number(o.first_sequence, v) && set(o.sequences, std::uint64_t{1});
     }},
    {"calls", "N", "calls in a sequence (200)",
     [](Options& o, const char* v) { return set_number(o.shape.calls, v, 1'000'000); }},
    {"users", nullptr, "call as root, 1001 and 1002; needs root",
     [](Options& o, const char*) { return set(o.users, Users::kSeveral); }},
    {"paced", "N", "pace every N-th sequence for exact times, 0: none (10)",
     [](Options& o, const char* v) { return set_number(o.shape.paced_every, v); }},
    {"cache", "MODE",
     "the option cache= of the mount (auto), writeback or kernel; the list asks for it",
     [](Options& o, const char* v) { return set_text(o.cache, v); }},
    {"known", "FILE", "the list of known differences",
     [](Options& o, const char* v) { return set_text(o.known_file, v); }},
    {"quick-known", nullptr, "end a sequence at its first known difference",
     [](Options& o, const char*) { return set(o.known_policy, Runner::KnownPolicy::kAlwaysEnd); }},
    {"unused", nullptr, "also list the known differences that were not met",
     [](Options& o, const char*) { return set(o.unused, Unused::kList); }},
    {"report", "FILE", "write failures to FILE; it can be replayed",
     [](Options& o, const char* v) { return set_text(o.report_file, v); }},
    {"replay", "FILE", "run the calls in FILE, and no others",
     [](Options& o, const char* v) {
       return set_text(o.replay_file, v) && set(o.action, Action::kReplay);
     }},
    {"max-failures", "N", "go on until N sequences have failed (1)",
     [](Options& o, const char* v) { return set_number(o.max_failures, v); }},
    {"max-replays", "N", "bound of the shrinking, 0: none at all (1500)",
     [](Options& o, const char* v) { return set_number(o.max_replays, v, 1'000'000); }},
    {"timeout", "S", "seconds that one call may take (60); SIGALRM ends a longer tree walk",
     [](Options& o, const char* v) {
       if (!set_number(o.timeout_ms, v, 100'000)) return false;
       return set(o.timeout_ms, o.timeout_ms * 1000);
     }},
    {"dump", nullptr, "print the sequences instead of running them",
     [](Options& o, const char*) { return set(o.action, Action::kDump); }},
    {"list-calls", nullptr, "print the kinds of calls with their parameters",
     [](Options& o, const char*) { return set(o.action, Action::kListCalls); }},
    {"help", nullptr, "print this",
     [](Options& o, const char*) { return set(o.action, Action::kHelp); }},
};

constexpr int kFirstValue = 1000;  // beyond the characters that getopt_long returns itself

std::vector<option> long_options() {
  std::vector<option> options;
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    options.push_back({kRows[i].name, kRows[i].value == nullptr ? no_argument : required_argument,
                       nullptr, kFirstValue + static_cast<int>(i)});
  }
  options.push_back({});
  return options;
}

std::string check(const Options& options) {
  const bool runs = options.action == Action::kRun || options.action == Action::kReplay;
  const SidePaths& sides = options.sides;
  if (runs && (sides.native.empty() || sides.mount.empty() || sides.mount_source.empty())) {
    return "--native, --mount and --mount-source are needed";
  }
  if (runs && (sides.native == sides.mount || sides.native == sides.mount_source)) {
    return "the native directory must not be the mounted one";
  }
  if (options.users == Users::kSeveral && ::geteuid() != 0) return "--users needs root";
  return {};
}

}  // namespace

std::string usage() {
  std::string text =
      "Usage: ouro-differential --native DIR --mount DIR --mount-source DIR [options]\n"
      "Runs the same random system calls on a native directory and through a mount, and compares.\n"
      "Exit code: 0 no unexplained difference, 1 differences, 2 it could not run.\n\n";
  for (const Row& row : kRows) {
    text += fmt::format("  --{:<22}{}\n",
                        fmt::format("{} {}", row.name, row.value == nullptr ? "" : row.value),
                        row.help);
  }
  return text;
}

std::optional<Options> parse_options(int argc, char** argv, std::string& complaint) {
  Options options;
  const std::vector<option> table = long_options();
  while (true) {
    const int value = ::getopt_long(argc, argv, "", table.data(), nullptr);
    if (value == -1) break;
    if (value < kFirstValue) {
      complaint = "see --help";
      return std::nullopt;
    }
    const Row& row = kRows[value - kFirstValue];
    if (row.apply(options, optarg)) continue;
    complaint = fmt::format("--{}: bad value '{}'", row.name, optarg == nullptr ? "" : optarg);
    return std::nullopt;
  }
  if (optind < argc) complaint = fmt::format("unexpected argument '{}'", argv[optind]);
  if (complaint.empty()) complaint = check(options);
  if (!complaint.empty()) return std::nullopt;
  options.shape.identities = static_cast<int>(make_identities(options.users).size());
  return options;
}

}  // namespace ouro::differential
