// Executors of calls that change or list names.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "loop/unique_fd.hpp"
#include "tests/differential/call.hpp"
#include "tests/differential/executors.hpp"
#include "tests/differential/observe.hpp"
#include "tests/differential/outcome.hpp"
#include "tests/differential/parameters.hpp"
#include "tests/differential/payload.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

using Entries = std::vector<DirectoryEntry>;

constexpr const char* kPassingName = "zz-passing";

std::string path_of(const Call& call) {
  return expand_path(call.text("path"));
}
std::string from_of(const Call& call) {
  return expand_path(call.text("from"));
}
std::string to_of(const Call& call) {
  return expand_path(call.text("to"));
}
int flags_of(const Call& call) {
  return static_cast<int>(call.number("flags"));
}

std::size_t bytes_of(const Call& call) {
  return static_cast<std::size_t>(call.number("bytes"));
}

// d_ino must be what lstat says of the name. "." and ".." may be mount points of their own.
std::int64_t count_wrong_inodes(int directory, const Entries& entries) {
  std::int64_t wrong = 0;
  for (const DirectoryEntry& entry : entries) {
    if (entry.name == "." || entry.name == "..") continue;
    struct stat attributes {};
    if (::fstatat(directory, entry.name.c_str(), &attributes, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (attributes.st_ino != entry.inode) ++wrong;
  }
  return wrong;
}

void report_entries(Outcome& outcome, const char* name, const loop::Result<Entries>& entries) {
  outcome.text(name, entries ? describe_entries(*entries) : errno_name(entries.error().value()));
}

// telldir and seekdir: from the cookie of every second entry on, the same entries follow.
void seek_again(Outcome& outcome, int directory, std::size_t bytes, const Entries& entries) {
  for (std::size_t i = 0; i < entries.size(); i += 2) {
    if (::lseek(directory, entries[i].next, SEEK_SET) < 0) {
      outcome.text("seekdir", errno_name(errno));
      return;
    }
    const auto rest = read_all_entries(directory, bytes);
    const std::span<const DirectoryEntry> expected = std::span(entries).subspan(i + 1);
    if (!rest || describe_entries(*rest) != describe_entries(expected)) {
      outcome.text("seekdir", "the entries behind a cookie are not those that followed it");
      return;
    }
  }
  outcome.text("seekdir", "ok");
}

// A name which appears after the first read must be there after rewinddir.
void rewind_and_list(Outcome& outcome, int directory, std::size_t bytes) {
  ::lseek(directory, 0, SEEK_SET);
  (void)read_entries(directory, bytes);
  outcome.number("added", ::mknodat(directory, kPassingName, S_IFREG | 0600, 0));
  ::lseek(directory, 0, SEEK_SET);
  report_entries(outcome, "rewound", read_all_entries(directory, bytes));
  ::unlinkat(directory, kPassingName, 0);
}

// Names which are not touched while the directory is read appear exactly once.
void list_while_changing(Outcome& outcome, int directory, std::size_t bytes) {
  ::lseek(directory, 0, SEEK_SET);
  auto begin = read_entries(directory, bytes);
  outcome.number("added", ::mknodat(directory, kPassingName, S_IFREG | 0600, 0));
  auto rest = read_all_entries(directory, bytes);
  ::unlinkat(directory, kPassingName, 0);
  if (!begin || !rest) {
    report_entries(outcome, "changing", begin ? rest : begin);
    return;
  }
  Entries entries;
  for (const Entries* part : {&*begin, &*rest}) {
    for (const DirectoryEntry& entry : *part) {
      if (entry.name != kPassingName) entries.push_back(entry);
    }
  }
  outcome.text("changing", describe_entries(entries));
}

void list(Outcome& outcome, const Call& call, int directory) {
  const auto entries = read_all_entries(directory, bytes_of(call));
  if (!entries) errno = entries.error().value();
  if (!outcome.finish(entries ? 0 : -1)) return;
  report_entries(outcome, "entries", entries);
  outcome.number("wrong_inodes", count_wrong_inodes(directory, *entries));
  switch (static_cast<ListDance>(call.number("dance"))) {
    case ListDance::kPlain:
      break;
    case ListDance::kSeek:
      seek_again(outcome, directory, bytes_of(call), *entries);
      break;
    case ListDance::kRewind:
      rewind_and_list(outcome, directory, bytes_of(call));
      break;
    case ListDance::kChange:
      list_while_changing(outcome, directory, bytes_of(call));
      break;
  }
}

}  // namespace

void execute_mkdirat(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(::mkdirat(side.directory(call.number("dir")), path_of(call).c_str(),
                           static_cast<mode_t>(call.number("mode"))));
}

void execute_rmdir(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::rmdir(path_of(call).c_str()));
}

void execute_unlink(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::unlink(path_of(call).c_str()));
}

void execute_unlinkat(Side& side, const Call& call, Outcome& outcome) {
  outcome.finish(
      ::unlinkat(side.directory(call.number("dir")), path_of(call).c_str(), flags_of(call)));
}

void execute_rename(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::rename(from_of(call).c_str(), to_of(call).c_str()));
}

void execute_renameat2(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::renameat2(AT_FDCWD, from_of(call).c_str(), AT_FDCWD, to_of(call).c_str(),
                             static_cast<unsigned>(call.number("flags"))));
}

void execute_link(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::link(from_of(call).c_str(), to_of(call).c_str()));
}

void execute_linkat(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(
      ::linkat(AT_FDCWD, from_of(call).c_str(), AT_FDCWD, to_of(call).c_str(), flags_of(call)));
}

void execute_symlink(Side&, const Call& call, Outcome& outcome) {
  outcome.finish(::symlink(expand_path(call.text("target")).c_str(), path_of(call).c_str()));
}

void execute_readlink(Side&, const Call& call, Outcome& outcome) {
  const Buffer buffer(bytes_of(call));
  auto* text = reinterpret_cast<char*>(buffer.data());
  const ssize_t length = ::readlink(path_of(call).c_str(), text, bytes_of(call));
  if (outcome.finish(length)) {
    outcome.text("target", escape({text, static_cast<std::size_t>(length)}));
  }
}

void execute_mknodat(Side& side, const Call& call, Outcome& outcome) {
  const auto mode = static_cast<mode_t>(call.number("type") | call.number("mode"));
  outcome.finish(::mknodat(side.directory(call.number("dir")), path_of(call).c_str(), mode, 0));
}

void execute_list(Side&, const Call& call, Outcome& outcome) {
  const loop::UniqueFd directory(::open(path_of(call).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (outcome.finish_quietly(directory.get())) list(outcome, call, directory.get());
}

void execute_list_slot(Side& side, const Call& call, Outcome& outcome) {
  const int directory = side.fd(call.number("slot"));
  if (!outcome.finish(::lseek(directory, 0, SEEK_SET))) return;
  list(outcome, call, directory);
}

void execute_populate(Side&, const Call& call, Outcome& outcome) {
  const loop::UniqueFd directory(::open(path_of(call).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!outcome.finish_quietly(directory.get())) return;
  std::int64_t made = 0;
  for (std::int64_t i = 0; i < call.number("count"); ++i) {
    const std::string name = fmt::format("p{:03}", i);
    if (!outcome.finish(::mknodat(directory.get(), name.c_str(), S_IFREG | 0644, 0))) break;
    ++made;
  }
  outcome.number("made", made);
}

}  // namespace ouro::differential
