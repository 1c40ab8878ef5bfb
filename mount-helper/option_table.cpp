#include "mount-helper/option_table.hpp"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "mount-helper/byte_size.hpp"

namespace ouro::mount_helper {
namespace {

using loop::LogLevel;

// The whole of `text` as a number, or nothing.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

std::string bad_value(std::string_view value, const std::string& expectation) {
  return quoted(value) + " is not " + expectation;
}

template <bool Options::*kMember>
Complaint set_flag(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.options.*kMember = true;
  return {};
}

template <std::optional<double> Options::*kMember>
Complaint set_seconds(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  const auto seconds = parse_number<double>(value);
  constexpr double kMaxSeconds = 1e9;
  if (!seconds || !std::isfinite(*seconds) || std::signbit(*seconds) || *seconds > kMaxSeconds) {
    return bad_value(value, "a number of seconds from 0 to 1000000000");
  }
  line.options.*kMember = *seconds;
  return {};
}

template <typename Enum>
struct Word {
  std::string_view text;
  Enum meaning;
};

template <typename Enum, std::size_t kSize>
Complaint set_word(Enum& target, std::string_view value,
                   const std::array<Word<Enum>, kSize>& words) {
  for (const auto& word : words) {
    if (word.text == value) {
      target = word.meaning;
      return {};
    }
  }
  std::string choices;
  for (std::size_t i = 0; i < kSize; ++i) {
    if (i > 0) choices += i + 1 == kSize ? " or " : ", ";
    choices += words[i].text;
  }
  return bad_value(value, choices);
}

constexpr std::array<Word<CacheMode>, 4> kCacheWords = {{{"never", CacheMode::kNever},
                                                         {"metadata", CacheMode::kMetadata},
                                                         {"auto", CacheMode::kAuto},
                                                         {"always", CacheMode::kAlways}}};

Complaint set_cache(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  return set_word(line.options.cache, value, kCacheWords);
}

Complaint set_transport(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<TransportMode>, 3> kWords = {{{"auto", TransportMode::kAuto},
                                                          {"dev", TransportMode::kDev},
                                                          {"ring", TransportMode::kRing}}};
  return set_word(line.options.transport, value, kWords);
}

Complaint set_queue_depth(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  const auto depth = parse_number<unsigned>(value);
  if (!depth || *depth < 1 || *depth > kMaxQueueDepth) {
    return bad_value(value, "a number from 1 to " + std::to_string(kMaxQueueDepth));
  }
  line.options.queue_depth = *depth;
  return {};
}

Complaint set_backing(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<BackingMode>, 4> kWords = {{{"ring", BackingMode::kRing},
                                                        {"inline", BackingMode::kInline},
                                                        {"kernel", BackingMode::kKernel},
                                                        {"auto", BackingMode::kAuto}}};
  return set_word(line.options.backing, value, kWords);
}

Complaint set_stack_depth(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<std::optional<unsigned>>, 3> kWords = {
      {{"auto", std::nullopt}, {"1", 1U}, {"2", 2U}}};
  return set_word(line.options.passthrough_stack_depth, value, kWords);
}

Complaint set_metadata(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<MetadataMode>, 3> kWords = {{{"auto", MetadataMode::kAuto},
                                                         {"inline", MetadataMode::kInline},
                                                         {"nested", MetadataMode::kNested}}};
  return set_word(line.options.metadata, value, kWords);
}

Complaint set_locks(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<LockMode>, 2> kWords = {
      {{"local", LockMode::kLocal}, {"remote", LockMode::kRemote}}};
  return set_word(line.options.locks, value, kWords);
}

Complaint set_file_handles(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<FileHandles>, 3> kWords = {{{"never", FileHandles::kNever},
                                                        {"prefer", FileHandles::kPrefer},
                                                        {"mandatory", FileHandles::kMandatory}}};
  return set_word(line.options.inode_file_handles, value, kWords);
}

Complaint set_sandbox(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<SandboxMode>, 2> kWords = {
      {{"none", SandboxMode::kNone}, {"seccomp", SandboxMode::kSeccomp}}};
  return set_word(line.options.sandbox, value, kWords);
}

Complaint set_log_level(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  constexpr std::array<Word<LogLevel>, 4> kWords = {{{"error", LogLevel::kError},
                                                     {"warning", LogLevel::kWarning},
                                                     {"info", LogLevel::kInfo},
                                                     {"debug", LogLevel::kDebug}}};
  return set_word(line.options.log_level, value, kWords);
}

Complaint set_loops(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  const auto loops = parse_number<unsigned>(value);
  if (!loops || *loops < 1 || *loops > kMaxLoops) {
    return bad_value(value, "a number from 1 to " + std::to_string(kMaxLoops));
  }
  line.options.loops = *loops;
  return {};
}

Complaint set_single(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.options.loops = 1;
  return {};
}

Complaint set_max_write(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  const auto bytes = parse_byte_size(value);
  if (!bytes || *bytes < kPageBytes || *bytes > kPageBytes * std::uint64_t{kMaxPages} ||
      *bytes % kPageBytes != 0) {
    return bad_value(value, "a multiple of 4K from 4K to 262140K");
  }
  line.options.max_write_bytes = static_cast<std::uint32_t>(*bytes);
  return {};
}

Complaint set_max_readahead(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  const auto bytes = parse_byte_size(value);
  if (!bytes || *bytes > kMaxReadAheadBytes || *bytes % kPageBytes != 0) {
    return bad_value(value, "a multiple of 4K from 0 to 1024M");
  }
  line.options.max_readahead_bytes = static_cast<std::uint32_t>(*bytes);
  return {};
}

Complaint set_source(CommandLine& line, const OptionRow& /*row*/, std::string_view value) {
  line.options.source = value;
  return {};
}

Complaint show_help(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.action = Action::kShowHelp;
  return {};
}

Complaint show_version(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.action = Action::kShowVersion;
  return {};
}

// Hands the option to libfuse as it is.
Complaint pass_on(CommandLine& line, const OptionRow& row, std::string_view value) {
  std::string option(row.name);
  if (!row.value.empty()) option.append("=").append(value);
  line.options.mount_options.push_back(std::move(option));
  return {};
}

Complaint pass_on_number(CommandLine& line, const OptionRow& row, std::string_view value) {
  if (!parse_number<std::uint32_t>(value)) return bad_value(value, "a number of bytes");
  return pass_on(line, row, value);
}

template <std::uint64_t kAttribute>
Complaint set_attribute(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.options.mount_attributes |= kAttribute;
  return {};
}

template <std::uint64_t kAttribute>
Complaint clear_attribute(CommandLine& line, const OptionRow& /*row*/, std::string_view /*value*/) {
  line.options.mount_attributes &= ~kAttribute;
  return {};
}

// FUSE mounts are relatime already, and nothing here can make them strictatime.
Complaint accept(CommandLine& /*line*/, const OptionRow& /*row*/, std::string_view /*value*/) {
  return {};
}

constexpr auto kGeneral = OptionGroup::kGeneral;
constexpr auto kServing = OptionGroup::kServing;
constexpr auto kMount = OptionGroup::kMount;

constexpr OptionRow kTable[] = {
    {"help", 'h', "", "", "print this help and exit", kGeneral, show_help},
    {"version", 'V', "", "", "print the versions of everything involved and exit", kGeneral,
     show_version},
    {"foreground", 'f', "", "", "stay in the foreground and log to stderr", kGeneral,
     set_flag<&Options::foreground>},
    {"debug", 'd', "", "", "log everything; implies -f", kGeneral, set_flag<&Options::debug>},
    {"log_level", 0, "LEVEL", "info", "error, warning, info or debug", kGeneral, set_log_level},
    {"source", 0, "PATH", "", "another way to give SOURCE, for fstab", kGeneral, set_source},

    {"loops", 0, "N", "one per CPU, at most 4", "event loops, each a thread with its own ring",
     kServing, set_loops},
    {"single", 's', "", "", "the same as loops=1", kServing, set_single},
    {"cache", 0, "MODE", "auto", "what the kernel may cache: never, metadata, auto or always",
     kServing, set_cache},
    {"attr_timeout", 0, "SECONDS", "by cache mode", "how long attributes stay valid", kServing,
     set_seconds<&Options::attr_timeout_s>},
    {"entry_timeout", 0, "SECONDS", "by cache mode", "how long names stay valid", kServing,
     set_seconds<&Options::entry_timeout_s>},
    {"negative_timeout", 0, "SECONDS", "by cache mode",
     "how long the absence of a name stays valid", kServing,
     set_seconds<&Options::negative_timeout_s>},
    {"writeback", 0, "", "", "let the kernel collect writes; SOURCE must not change underneath",
     kServing, set_flag<&Options::writeback>},
    {"direct_io", 0, "", "", "bypass the page cache for every file", kServing,
     set_flag<&Options::direct_io>},
    {"transport", 0, "MODE", "dev", "requests by /dev/fuse (dev), io_uring (ring) or either (auto)",
     kServing, set_transport},
    {"queue_depth", 0, "N", "64", "requests of each CPU at a time with transport=ring", kServing,
     set_queue_depth},
    {"backing", 0, "MODE", "ring", "how file data moves: ring, inline, kernel or auto", kServing,
     set_backing},
    {"passthrough_stack_depth", 0, "DEPTH", "auto",
     "for backing=kernel: 1, or 2 for a stacked SOURCE", kServing, set_stack_depth},
    {"metadata", 0, "MODE", "inline", "how metadata waits: auto (workers), inline or nested (ring)",
     kServing, set_metadata},
    {"max_write", 0, "BYTES", "1M", "largest request for data, up to the kernel's limit", kServing,
     set_max_write},
    {"raise_max_pages_limit", 0, "", "", "raise that limit, of the whole machine, as root",
     kServing, set_flag<&Options::raise_max_pages_limit>},
    {"max_readahead", 0, "BYTES", "the kernel's", "how far the kernel reads ahead; 0: not at all",
     kServing, set_max_readahead},
    {"locks", 0, "MODE", "local", "whose file locks are: local to the mount, or remote (SOURCE)",
     kServing, set_locks},
    {"one_file_system", 0, "", "", "do not show file systems mounted below SOURCE", kServing,
     set_flag<&Options::one_file_system>},
    {"inode_file_handles", 0, "MODE", "prefer",
     "file handles for cached inodes: never, prefer or mandatory", kServing, set_file_handles},
    {"sandbox", 0, "MODE", "seccomp", "what it gives up to serve: none or seccomp", kServing,
     set_sandbox},

    {"allow_other", 0, "", "", "let other users in; forces default_permissions", kMount,
     set_flag<&Options::allow_other>},
    {"allow_root", 0, "", "", "let root in, too; forces default_permissions", kMount,
     set_flag<&Options::allow_root>},
    {"idmap", 0, "", "", "allow idmapped mounts of it (root only)", kMount,
     set_flag<&Options::idmap>},
    {"default_permissions", 0, "", "", "let the kernel check permissions", kMount,
     set_flag<&Options::default_permissions>},
    {"auto_unmount", 0, "", "", "unmount even if ourofs is killed", kMount,
     set_flag<&Options::auto_unmount>},
    {"fsname", 0, "NAME", "SOURCE", "name of the source in the mount table", kMount, pass_on},
    {"subtype", 0, "TYPE", "ourofs", "type in the mount table: fuse.TYPE", kMount, pass_on},
    {"max_read", 0, "BYTES", "", "largest read request", kMount, pass_on_number},
    {"ro", 0, "", "", "mount read-only", kMount, pass_on},
    {"rw", 0, "", "on", "mount read-write", kMount, pass_on},
    {"suid", 0, "", "", "honour set-user-ID and set-group-ID bits (root only)", kMount, pass_on},
    {"nosuid", 0, "", "on", "ignore them", kMount, pass_on},
    {"dev", 0, "", "", "honour device files (root only)", kMount, pass_on},
    {"nodev", 0, "", "on", "ignore them", kMount, pass_on},
    {"exec", 0, "", "on", "allow programs to be run", kMount, pass_on},
    {"noexec", 0, "", "", "forbid it", kMount, pass_on},
    {"sync", 0, "", "", "write synchronously", kMount, pass_on},
    {"async", 0, "", "on", "write asynchronously", kMount, pass_on},
    {"dirsync", 0, "", "", "change directories synchronously", kMount, pass_on},
    {"noatime", 0, "", "", "leave access times alone", kMount, pass_on},
    {"nodiratime", 0, "", "", "leave access times of directories alone (root only)", kMount,
     set_attribute<MOUNT_ATTR_NODIRATIME>},
    {"nostrictatime", 0, "", "on", "accepted; access times are never strict", kMount, accept},
    {"symfollow", 0, "", "on", "follow symbolic links", kMount,
     clear_attribute<MOUNT_ATTR_NOSYMFOLLOW>},
    {"nosymfollow", 0, "", "", "do not follow them (root only)", kMount,
     set_attribute<MOUNT_ATTR_NOSYMFOLLOW>},
    {"context", 0, "LABEL", "", "SELinux label of every file", kMount, pass_on},
    {"fscontext", 0, "LABEL", "", "SELinux label of the file system", kMount, pass_on},
    {"defcontext", 0, "LABEL", "", "SELinux label of files that have none", kMount, pass_on},
    {"rootcontext", 0, "LABEL", "", "SELinux label of the root directory", kMount, pass_on},
};

constexpr std::string_view kIgnored[] = {
    "nofail", "_netdev", "noauto",   "auto",     "user",
    "nouser", "users",   "defaults", "nonempty", "comment",
};

}  // namespace

std::span<const OptionRow> option_table() {
  return kTable;
}

std::string_view cache_word(CacheMode mode) {
  return std::ranges::find(kCacheWords, mode, &Word<CacheMode>::meaning)->text;
}

const OptionRow* find_option(std::string_view name) {
  const auto* row = std::ranges::find(kTable, name, &OptionRow::name);
  return row != std::end(kTable) ? row : nullptr;
}

const OptionRow* find_option(char letter) {
  const auto* row = std::ranges::find(kTable, letter, &OptionRow::letter);
  return letter != 0 && row != std::end(kTable) ? row : nullptr;
}

std::span<const std::string_view> ignored_options() {
  return kIgnored;
}

bool is_ignored_option(std::string_view name) {
  return name.starts_with("x-") || std::ranges::find(kIgnored, name) != std::end(kIgnored);
}

}  // namespace ouro::mount_helper
