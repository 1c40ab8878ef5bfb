#include "tests/differential/report.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace ouro::differential {
namespace {

constexpr std::string_view kPacedMark = "# pace: tick";

std::string format_differences(const Failure& failure) {
  std::string text;
  for (const Difference& difference : failure.differences) {
    text += fmt::format("#   {}{}{}: native {}, mount {}\n", difference.subject,
                        difference.subject.empty() ? "" : ": ", difference.field, difference.native,
                        difference.mount);
  }
  return text;
}

std::string commonest_errors(const Tally::Count& count) {
  constexpr std::size_t kShown = 4;
  std::vector<std::pair<std::uint64_t, int>> errors;
  for (const auto& [error, times] : count.errors) errors.emplace_back(times, error);
  std::sort(errors.rbegin(), errors.rend());
  errors.resize(std::min(errors.size(), kShown));
  std::string text;
  for (const auto& [times, error] : errors) {
    text += fmt::format("{:>9}{:>7}", errno_name(error), times);
  }
  return text;
}

std::string describe_replays(const Report& report) {
  if (report.replays == 0) return "# The calls were not replayed.\n";
  if (!report.reproduced) return "# It did not show up again when the calls were replayed.\n";
  return fmt::format("# {} of {} calls are enough (after {} replays).\n",
                     report.sequence.calls.size(), report.calls_before, report.replays);
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string format_report(const Report& report, std::span<const std::string> names,
                          const std::string& reproduce_command, Detail detail) {
  const Sequence& sequence = report.sequence;
  std::string text =
      fmt::format("# Difference in sequence {} of seed {}.\n", sequence.number, sequence.seed);
  text += describe_replays(report);
  text += "# Reproduce: " + reproduce_command + "\n";
  if (sequence.pace == Pace::kTick) text += std::string(kPacedMark) + "\n";
  const bool all = report.reproduced || detail == Detail::kFull;
  for (std::size_t i = 0; i < sequence.calls.size(); ++i) {
    if (!all && i != report.failure.call_index) continue;
    text += format_call(sequence.calls[i], names) + "\n";
    if (i == report.failure.call_index) {
      text += fmt::format("# call {} differs:\n", i + 1) + format_differences(report.failure);
    }
  }
  if (report.failure.call_index >= sequence.calls.size()) {
    text += fmt::format("# {} differs:\n", report.failure.where);
    text += format_differences(report.failure);
  }
  return text;
}

std::optional<Sequence> parse_replay(std::string_view text, std::span<const std::string> names,
                                     std::string& bad_line) {
  Sequence sequence;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line == kPacedMark) sequence.pace = Pace::kTick;
    if (line.empty() || line.front() == '#') continue;
    auto call = parse_call(line, names);
    if (!call) {
      bad_line = line;
      return std::nullopt;
    }
    sequence.calls.push_back(*std::move(call));
  }
  return sequence;
}

std::string format_summary(const Tally& tally, const KnownDifferences& known, std::size_t failures,
                           Unused unused) {
  std::string text =
      "calls by kind, the share that succeeded natively, and its commonest errors:\n";
  for (const auto& [name, count] : tally.by_kind) {
    text += fmt::format("  {:<18}{:>8}  {:>3.0f} % {}\n", name, count.calls,
                        percent(count.succeeded, count.calls), commonest_errors(count));
  }
  text += fmt::format("known differences: {} of {} entries met\n", tally.known.size(),
                      known.entries().size());
  for (const auto& [id, count] : tally.known) text += fmt::format("  {:<40}{:>8}\n", id, count);
  for (const KnownDifference& entry : known.entries()) {
    if (unused == Unused::kList && tally.known.count(entry.id) == 0) {
      text += fmt::format("  {:<40}  unused\n", entry.id);
    }
  }
  text += fmt::format(
      "{} sequences ({} ended early by a known difference), {} calls, "
      "{} unexplained differences\n",
      tally.sequences, tally.ended_early, tally.calls, failures);
  return text;
}

}  // namespace ouro::differential
