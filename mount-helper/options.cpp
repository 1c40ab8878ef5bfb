#include "mount-helper/options.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include <fuse3/fuse_opt.h>

#include "mount-helper/libfuse_log.hpp"
#include "mount-helper/option_table.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::string_view kSeeHelp = "try 'ourofs --help'";

tl::unexpected<Failure> usage(std::string message) {
  return give_up(ExitCode::kUsage, std::move(message), std::string(kSeeHelp));
}

// libfuse cuts the command line into options and names; this gives each of them its meaning.
class Parser {
 public:
  Outcome<CommandLine> parse(int argc, char** argv);

 private:
  static int on_argument(void* self, const char* argument, int key, fuse_args* /*rest*/) {
    auto* parser = static_cast<Parser*>(self);
    return key == FUSE_OPT_KEY_NONOPT ? parser->take_name(argument) : parser->take_option(argument);
  }
  int take_name(const char* name);
  int take_option(std::string_view typed);
  int refuse(std::string message);
  [[nodiscard]] Outcome<CommandLine> finish();
  [[nodiscard]] Outcome<void> place_names();

  static constexpr int kDiscard = 0;  // we keep what we need; nothing is left for libfuse
  static constexpr int kStop = -1;

  CommandLine line_;
  std::vector<std::string> names_;
  std::string complaint_;
};

// What was typed, taken apart: --attr-timeout=1 -> {attr_timeout, 1}.
struct TypedOption {
  std::string_view typed_name;
  std::string name;
  std::optional<std::string_view> value;
  const OptionRow* row;
};

TypedOption take_apart(std::string_view typed) {
  const std::size_t equals = typed.find('=');
  TypedOption option{typed.substr(0, equals), std::string(typed.substr(0, equals)), {}, nullptr};
  if (equals != std::string_view::npos) option.value = typed.substr(equals + 1);

  std::string& name = option.name;
  if (name.starts_with("--")) {
    name.erase(0, 2);
    if (!name.starts_with("x-")) std::ranges::replace(name, '-', '_');
    option.row = find_option(name);
  } else if (name.starts_with("-")) {
    if (name.size() == 2) option.row = find_option(name[1]);
  } else {
    option.row = find_option(name);
  }
  return option;
}

int Parser::refuse(std::string message) {
  complaint_ = std::move(message);
  return kStop;
}

int Parser::take_name(const char* name) {
  names_.emplace_back(name);
  return kDiscard;
}

int Parser::take_option(std::string_view typed) {
  if (typed.empty() || line_.action != Action::kMount) return kDiscard;
  const TypedOption option = take_apart(typed);
  if (option.row == nullptr) {
    if (is_ignored_option(option.name)) return kDiscard;
    return refuse("unknown option " + quoted(option.typed_name));
  }
  const OptionRow& row = *option.row;
  const std::string name = quoted(row.name);
  if (row.value.empty() && option.value) return refuse("option " + name + " takes no value");
  if (!row.value.empty() && (!option.value || option.value->empty())) {
    return refuse("option " + name + " needs a value, as in " + std::string(row.name) + "=" +
                  std::string(row.value));
  }
  if (const Complaint complaint = row.apply(line_, row, option.value.value_or(""))) {
    return refuse("option " + name + ": " + *complaint);
  }
  return kDiscard;
}

Outcome<void> Parser::place_names() {
  Options& options = line_.options;
  if (!options.source.empty()) names_.insert(names_.begin(), options.source);
  if (names_.empty()) return usage("SOURCE and MOUNTPOINT are missing");
  if (names_.size() == 1) return usage("MOUNTPOINT is missing");
  if (names_.size() > 2) return usage("unexpected argument " + quoted(names_[2]));
  options.source = names_[0];
  options.mountpoint = names_[1];
  return {};
}

Outcome<CommandLine> Parser::finish() {
  Options& options = line_.options;
  if (auto placed = place_names(); !placed) return tl::unexpected(placed.error());
  if (options.debug) {
    options.foreground = true;
    options.log_level = loop::LogLevel::kDebug;
  }
  if (options.allow_other && options.allow_root) {
    return usage("options 'allow_other' and 'allow_root' exclude each other");
  }
  if (options.idmap && options.allow_root) {
    return usage("options 'idmap' and 'allow_root' exclude each other");
  }
  if (options.idmap && ::geteuid() != 0) return usage("option 'idmap' is for root only");
  if (options.allow_other || options.allow_root || options.idmap) {
    options.default_permissions = true;
  }
  if (options.writeback && options.cache == CacheMode::kNever) {
    return usage("options 'writeback' and 'cache=never' exclude each other");
  }
  if (options.writeback && options.direct_io) {
    return usage("options 'writeback' and 'direct_io' exclude each other");
  }
  return line_;
}

Outcome<CommandLine> Parser::parse(int argc, char** argv) {
  fuse_args arguments = FUSE_ARGS_INIT(argc, argv);
  const LibfuseLogCapture silence;
  const int parsed = ::fuse_opt_parse(&arguments, this, nullptr, on_argument);
  ::fuse_opt_free_args(&arguments);
  if (!complaint_.empty()) return usage(complaint_);
  // The one thing that libfuse itself objects to.
  if (parsed != 0) return usage("option '-o' needs a value, as in -o ro,loops=2");
  if (line_.action != Action::kMount) return line_;
  return finish();
}

bool has_option(const std::vector<std::string>& options, std::string_view name_and_equals) {
  return std::ranges::any_of(
      options, [&](const std::string& option) { return option.starts_with(name_and_equals); });
}

std::string help_line(const OptionRow& row) {
  constexpr std::size_t kColumn = 30;
  std::string line = row.letter != 0 ? std::string("  -") + row.letter + ", " : "      ";
  line.append("--").append(row.name);
  if (!row.value.empty()) line.append("=").append(row.value);
  line.append(line.size() < kColumn - 1 ? kColumn - line.size() : 2, ' ');
  line.append(row.help);
  if (!row.default_text.empty()) line.append(" [").append(row.default_text).append("]");
  return line + "\n";
}

std::string help_group(OptionGroup group) {
  std::string lines;
  for (const OptionRow& row : option_table()) {
    if (row.group == group) lines += help_line(row);
  }
  return lines;
}

}  // namespace

unsigned default_loops() {
  constexpr unsigned kEnough = 4;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (::sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 1;
  return std::clamp(static_cast<unsigned>(CPU_COUNT(&cpus)), 1U, kEnough);
}

Outcome<CommandLine> parse_options(int argc, char** argv) {
  return Parser().parse(argc, argv);
}

std::vector<std::string> libfuse_options(const Options& options,
                                         const std::string& absolute_source) {
  std::vector<std::string> result = options.mount_options;
  if (options.allow_other) result.emplace_back("allow_other");
  if (options.allow_root) result.emplace_back("allow_root");
  if (options.default_permissions) result.emplace_back("default_permissions");
  if (!has_option(result, "fsname=")) result.push_back("fsname=" + absolute_source);
  if (!has_option(result, "subtype=")) result.emplace_back("subtype=ourofs");
  return result;
}

std::uint64_t source_attributes(const Options& options) {
  const bool stays =
      std::ranges::find(options.mount_options, "noatime") != options.mount_options.end();
  return (options.mount_attributes & MOUNT_ATTR_NODIRATIME) | (stays ? MOUNT_ATTR_NOATIME : 0);
}

std::string help_text() {
  std::string ignored;
  for (const std::string_view name : ignored_options()) ignored.append(name).append(" ");
  return "Usage: ourofs [options] SOURCE MOUNTPOINT\n"
         "Mounts the directory SOURCE at MOUNTPOINT, served from one shared io_uring per thread.\n"
         "\n"
         "Every option may be given as --name[=VALUE] or as -o name[=VALUE],..., anywhere.\n"
         "\n"
         "General options:\n" +
         help_group(OptionGroup::kGeneral) + "\nHow ourofs serves:\n" +
         help_group(OptionGroup::kServing) + "\nOptions of the mount:\n" +
         help_group(OptionGroup::kMount) + "\nAccepted and ignored: " + ignored +
         "x-*\n"
         "\n"
         "Exit codes: 0 mounted, 1 usage, 2 system error, 32 mount failed.\n"
         "To unmount: umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT.\n";
}

}  // namespace ouro::mount_helper
