#include "mount-helper/mount_command.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include <libmount/libmount.h>

#include "mount-helper/option_table.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::string_view kName = "mount.fuse.ourofs";
constexpr std::string_view kSourcePrefix = "source:";

tl::unexpected<Failure> usage(std::string message) {
  return give_up(ExitCode::kUsage, std::move(message),
                 "usage: " + std::string(kName) +
                     " SOURCE MOUNTPOINT [-sfnv] [-o options] [-t type], see mount(8)");
}

// A string of options as fstab has it, in libmount's hands.
class OptionString {
 public:
  OptionString() = default;
  ~OptionString() { std::free(text_); }
  OptionString(const OptionString&) = delete;
  OptionString& operator=(const OptionString&) = delete;
  OptionString(OptionString&&) = delete;
  OptionString& operator=(OptionString&&) = delete;

  [[nodiscard]] const char* text() const { return text_ != nullptr ? text_ : ""; }

  void append(const std::string& name, std::optional<std::string_view> value = {}) {
    const std::string copy(value.value_or(""));
    require(::mnt_optstr_append_option(&text_, name.c_str(), value ? copy.c_str() : nullptr));
  }
  // All of a string that is options itself.
  void append_all(const char* options) {
    if (*options != '\0') append(options);
  }
  [[nodiscard]] bool has(const char* name) const {
    return ::mnt_optstr_get_option(text(), name, nullptr, nullptr) == 0;
  }
  // Its value, empty without one.
  [[nodiscard]] std::optional<std::string> take(const char* name) {
    char* value = nullptr;
    std::size_t size = 0;
    if (::mnt_optstr_get_option(text(), name, &value, &size) != 0) return std::nullopt;
    std::string taken(value != nullptr ? value : "", value != nullptr ? size : 0);
    require(::mnt_optstr_remove_option(&text_, name));
    return taken;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    std::string copy = text();
    char* rest = copy.data();
    char* name = nullptr;
    std::size_t size = 0;
    while (::mnt_optstr_next_option(&rest, &name, &size, nullptr, nullptr) == 0) {
      found.emplace_back(name, size);
    }
    return found;
  }
  // MS_*: those which the names stand for, the later ones overruling the earlier.
  [[nodiscard]] unsigned long mount_flags() const {
    unsigned long flags = 0;
    require(::mnt_optstr_get_flags(text(), &flags, ::mnt_get_builtin_optmap(MNT_LINUX_MAP)));
    return flags;
  }

 private:
  // libmount has one way to fail here.
  static void require(int result) {
    if (result < 0) throw std::bad_alloc();
  }

  char* text_ = nullptr;
};

bool is_mount_flag(const std::string& name) {
  unsigned long flags = 0;
  return ::mnt_optstr_get_flags(name.c_str(), &flags, ::mnt_get_builtin_optmap(MNT_LINUX_MAP)) ==
             0 &&
         (flags != 0 || name == "rw");
}

bool is_known(const std::string& name) {
  return find_option(name) != nullptr || is_ignored_option(name);
}

// What the mount table shows of a FUSE mount that nobody can give as an option.
bool is_shown_by_kernel(const std::string& name) {
  constexpr std::array<std::string_view, 5> kShown = {"user_id", "group_id", "rootmode", "fd",
                                                      "blksize"};
  return std::ranges::find(kShown, name) != kShown.end();
}

// libfuse splits at commas, and takes a backslash as the end of their meaning.
std::string escaped(std::string_view value) {
  std::string result;
  for (const char c : value) {
    if (c == ',' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

// The words of the line, before anything is made of them.
struct Words {
  std::vector<std::string> names;
  OptionString options;
  std::string type;
  bool sloppy = false;
  bool fake = false;
};

Outcome<void> read_words(int argc, char** argv, Words& words) {
  ::opterr = 0;
  ::optind = 1;
  for (int letter = 0; (letter = ::getopt(argc, argv, "sfnvN:o:t:")) != -1;) {
    switch (letter) {
      case 's':
        words.sloppy = true;
        break;
      case 'f':
        words.fake = true;
        break;
      case 'o':
        words.options.append_all(::optarg);
        break;
      case 't':
        words.type = ::optarg;
        break;
      case 'N':
        return usage("option '-N' is not supported: use nsenter(1)");
      case 'n':  // there is no mtab any more
      case 'v':
        break;
      default:
        return usage("unknown option or missing value: '-" +
                     std::string(1, static_cast<char>(::optopt)) + "'");
    }
  }
  words.names.assign(argv + ::optind, argv + argc);
  if (words.names.size() != 2) return usage("SOURCE and MOUNTPOINT are needed");
  return {};
}

void drop_unknown(OptionString& options) {
  for (const std::string& name : options.names()) {
    if (!is_known(name)) static_cast<void>(options.take(name.c_str()));
  }
}

// What mount.fuse3(8) adds to the options that were given.
void complete(Words& words) {
  OptionString& options = words.options;
  if (!options.has("fsname")) options.append("fsname", escaped(words.names[0]));
  const std::size_t dot = words.type.find('.');
  if (dot != std::string::npos && !options.has("subtype")) {
    options.append("subtype", words.type.substr(dot + 1));
  }
  if (::geteuid() != 0) return;
  if (!options.has("nodev")) options.append("dev");
  if (!options.has("nosuid")) options.append("suid");
}

std::string source_in(const std::string& spec) {
  return spec.starts_with(kSourcePrefix) ? spec.substr(kSourcePrefix.size()) : spec;
}

}  // namespace

bool is_mount_command(const char* program_name) {
  return std::string_view(::basename(program_name)) == kName;
}

Outcome<MountCommand> parse_mount_command(int argc, char** argv) {
  Words words;
  if (auto read = read_words(argc, argv, words); !read) return tl::unexpected(read.error());
  MountCommand command;
  command.mountpoint = words.names[1];
  command.fake = words.fake;
  command.remount = words.options.has("remount");
  if (command.remount) {
    command.arguments = {words.names[0]};
    command.remount_options = words.options.names();
    for (const std::string& name : command.remount_options) {
      const bool known = is_known(name) || is_mount_flag(name) || is_shown_by_kernel(name);
      if (!known && !words.sloppy) return usage("unknown option " + quoted(name));
    }
    return command;
  }
  command.user = words.options.take("setuid").value_or("");
  // Ours have few privileges anyhow.
  static_cast<void>(words.options.take("drop_privileges"));
  if (words.sloppy) drop_unknown(words.options);
  const bool has_source = words.options.has("source");
  complete(words);
  command.arguments = {"ourofs", "-o", words.options.text(), "--"};
  if (!has_source) command.arguments.push_back(source_in(words.names[0]));
  command.arguments.push_back(command.mountpoint);
  return command;
}

Outcome<void> remount(const MountCommand& command) {
  OptionString options;
  for (const std::string& name : command.remount_options) options.append(name);
  const unsigned long flags = options.mount_flags() | MS_REMOUNT;
  const char* mountpoint = command.mountpoint.c_str();
  if (::mount(command.arguments[0].c_str(), mountpoint, "fuse", flags, "") == 0) return {};
  return give_up(ExitCode::kMountFailed,
                 "cannot remount " + quoted(mountpoint) + ": " + errno_text(errno),
                 errno == EINVAL ? "it is not a mount point" : "");
}

Outcome<void> become_user(const std::string& user) {
  const passwd* entry = ::getpwnam(user.c_str());
  if (entry == nullptr) return usage("option 'setuid': there is no user " + quoted(user));
  if (::initgroups(user.c_str(), entry->pw_gid) != 0 || ::setgid(entry->pw_gid) != 0 ||
      ::setuid(entry->pw_uid) != 0) {
    return give_up(ExitCode::kSystem,
                   "cannot become user " + quoted(user) + ": " + errno_text(errno));
  }
  ::setenv("HOME", entry->pw_dir, 1);
  return {};
}

}  // namespace ouro::mount_helper
