// Every option of ourofs, one row each: the single source of truth for parsing, for --help, and for
// the tests that compare the man page, the shell completion and the README with it.
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mount-helper/options.hpp"

namespace ouro::mount_helper {

enum class OptionGroup : std::uint8_t {
  kGeneral,  // how the program itself behaves
  kServing,  // how ourofs serves; its own
  kMount,    // what libfuse and the kernel take, as in mount(8)
};

// What is wrong with a value, to follow "option 'name': "; nothing when it was accepted.
using Complaint = std::optional<std::string>;

struct OptionRow {
  std::string_view name;          // as in -o name and --name; '-' and '_' are the same in --name
  char letter;                    // as in -f; 0: none
  std::string_view value;         // what --help calls the value; empty: the option takes none
  std::string_view default_text;  // as --help shows it; empty: off, or unset
  std::string_view help;
  OptionGroup group;
  // Stores the value (empty if the row takes none).
  Complaint (*apply)(CommandLine& line, const OptionRow& row, std::string_view value);
};

[[nodiscard]] std::span<const OptionRow> option_table();

// nullptr: there is no such option.
[[nodiscard]] const OptionRow* find_option(std::string_view name);
[[nodiscard]] const OptionRow* find_option(char letter);

// How a cache mode is written as an option.
[[nodiscard]] std::string_view cache_word(CacheMode mode);

// Words of /etc/fstab that are for others: accepted and forgotten, as mount.fuse3 does.
[[nodiscard]] std::span<const std::string_view> ignored_options();
[[nodiscard]] bool is_ignored_option(std::string_view name);

}  // namespace ouro::mount_helper
