// ouro-load: runs one loop of system calls in a directory for a while and prints, as JSON, how many
// operations that were and how long they took. `ourofsctl compare` starts it.

#include <getopt.h>

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <system_error>

#include "bench/load/loops.hpp"

namespace ouro::bench {
namespace {

constexpr int kUsage = 1;
constexpr int kSystem = 2;
constexpr const char* kSynopsis =
    "Usage: ouro-load prepare|stat|fresh-stat|open-close|create-unlink|readdir DIRECTORY\n"
    "                 [--threads N] [--files N] [--seconds S]\n";

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end && number > 0;
}

// Whether the options could be read; what they leave out keeps its default.
bool parse_options(int argc, char** argv, Load& load) {
  static constexpr option kOptions[] = {{"threads", required_argument, nullptr, 't'},
                                        {"files", required_argument, nullptr, 'f'},
                                        {"seconds", required_argument, nullptr, 's'},
                                        {nullptr, 0, nullptr, 0}};
  int letter = 0;
  while ((letter = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1) {
    const bool parsed = (letter == 't' && parse(::optarg, load.threads)) ||
                        (letter == 'f' && parse(::optarg, load.files)) ||
                        (letter == 's' && parse(::optarg, load.seconds));
    if (!parsed) return false;
  }
  return ::optind + 2 == argc;
}

int failed(const char* what, const Load& load, loop::Errno error) {
  std::fprintf(stderr, "ouro-load: cannot %s in '%s': %s\n", what, load.directory.c_str(),
               std::strerror(error.value()));
  return kSystem;
}

int program(int argc, char** argv) {
  Load load;
  if (!parse_options(argc, argv, load)) {
    std::fputs(kSynopsis, stderr);
    return kUsage;
  }
  const char* name = argv[::optind];
  load.directory = argv[::optind + 1];
  if (std::string_view(name) == "prepare") {
    const auto prepared = prepare(load);
    return prepared ? 0 : failed(name, load, prepared.error());
  }
  const auto kind = loop_named(name);
  if (!kind) {
    std::fputs(kSynopsis, stderr);
    return kUsage;
  }
  load.loop = *kind;
  const auto outcome = run(load);
  if (!outcome) return failed(name, load, outcome.error());
  const Histogram& durations = outcome->durations;
  std::printf("{\"operations\": %" PRIu64 ", \"seconds\": %.9f, \"p50_ns\": %" PRIu64
              ", \"p99_ns\": %" PRIu64 "}\n",
              durations.count(), outcome->seconds, durations.percentile_ns(0.50),
              durations.percentile_ns(0.99));
  return std::fflush(stdout) == 0 ? 0 : kSystem;
}

}  // namespace
}  // namespace ouro::bench

int main(int argc, char** argv) {
  return ouro::bench::program(argc, argv);
}
