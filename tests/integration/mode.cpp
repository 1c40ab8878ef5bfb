#include "tests/integration/mode.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>

#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

// Metadata on the ring shows as completions of an operation: at least one for each of these
// requests, successful or not. A LOOKUP that finds nothing has no STATX, so those are not counted
// upon; and listings, which look up the names in them, cause more of both.
struct Evidence {
  const char* counter;
  std::initializer_list<const char*> requests;
};
const Evidence kMetadata[] = {
    {"cqe.openat2",
     {"request.LOOKUP", "request.OPEN", "request.OPENDIR", "request.CREATE", "request.TMPFILE"}},
    {"cqe.statx", {"request.GETATTR", "request.STATX"}},
    {"cqe.mkdirat", {"request.MKDIR"}},
    {"cqe.unlinkat", {"request.UNLINK", "request.RMDIR"}},
    {"cqe.renameat", {"request.RENAME", "request.RENAME2"}},
    {"cqe.linkat", {"request.LINK"}},
    {"cqe.symlinkat", {"request.SYMLINK"}},
    {"cqe.setxattr", {"request.SETXATTR"}},
    {"cqe.getxattr", {"request.GETXATTR"}},
    {"cqe.fallocate", {"request.FALLOCATE"}}};

class Jury {
 public:
  explicit Jury(const Statistics& statistics) : statistics_(statistics) {}

  void require(bool holds, const std::string& claim) {
    if (!holds) objections_.push_back("not so: " + claim + "; " + statistics_.text());
  }
  void requires_some(std::initializer_list<const char*> counters) {
    for (const char* name : counters) require(statistics_[name] > 0, std::string(name) + " > 0");
  }
  void requires_none(std::initializer_list<const char*> counters) {
    for (const char* name : counters) require(statistics_[name] == 0, std::string(name) + " == 0");
  }
  [[nodiscard]] std::vector<std::string> objections() && { return std::move(objections_); }

 private:
  const Statistics& statistics_;
  std::vector<std::string> objections_;
};

std::string word_of(Backing backing) {
  if (backing == Backing::kKernel) return "kernel";
  return backing == Backing::kRing ? "ring" : "inline";
}

std::string word_of(Metadata metadata) {
  if (metadata == Metadata::kAuto) return "auto";
  return metadata == Metadata::kNested ? "nested" : "inline";
}

std::string capitalised(std::string word) {
  word[0] = static_cast<char>(std::toupper(word[0]));
  return word;
}

// Every file was given to the kernel, and nothing came by requests but for those who asked for it.
void try_kernel_backing(Jury& jury, const Statistics& s) {
  jury.requires_none({"kernel_other_opens"});
  const std::uint64_t opens = s["request.OPEN"] + s["request.CREATE"] + s["request.TMPFILE"];
  const std::uint64_t given = s["kernel_opens"] + s["kernel_mixed_opens"];
  jury.require(opens == 0 || given > 0, "files were given to the kernel");
  if (s["kernel_mixed_opens"] == 0) jury.requires_none({"request.READ", "request.WRITE"});
}

// A request that is just being answered may be counted without its reply, and refusals of unknown
// opcodes (once each) the other way round.
constexpr std::uint64_t kSlack = 8;

void try_transport(Jury& jury, Transport transport, const Statistics& s) {
  if (transport == Transport::kDev) return jury.requires_none({"by_ring", "cqe.uring_cmd"});
  jury.require(s["by_ring"] > 0, "by_ring > 0");
  jury.require(s["by_ring"] + kSlack >= s.replied(), "every request by the ring but FORGET");
  jury.require(s["cqe.uring_cmd"] >= s["by_ring"], "a completion of a command for each of them");
}

void try_backing(Jury& jury, const Mode& mode, const Statistics& s) {
  const Backing backing = mode.backing;
  const std::uint64_t data = s["request.READ"] + s["request.WRITE"] + s["request.FSYNC"];
  // By the channel every reply is a WRITE of the loop's ring, but for those of workers.
  const std::uint64_t replies = mode.transport == Transport::kDev ? s.replied() : 0;
  if (backing == Backing::kKernel) {
    try_kernel_backing(jury, s);
  } else {
    jury.requires_none({"kernel_opens", "kernel_mixed_opens", "kernel_other_opens"});
  }
  if (backing != Backing::kInline) {
    jury.requires_none({"inline_data"});
    jury.require(s["cqe.read"] >= s["request.READ"], "a READ each on the ring");
    jury.require(s["cqe.fsync"] >= s["request.FSYNC"], "an FSYNC each on the ring");
    jury.require(s["cqe.write"] + s["pooled"] + kSlack >= replies + s["request.WRITE"],
                 "a WRITE each on the ring, beside the replies");
  } else {
    jury.requires_none({"cqe.read"});
    jury.require(s["inline_data"] >= data, "a system call for each transfer");
    jury.require(s["cqe.write"] <= replies + kSlack, "no WRITE on the ring but replies");
  }
}

// What can block is left to workers: at least what is known to.
void try_pool(Jury& jury, const Statistics& s) {
  std::uint64_t requests = 0;
  for (const char* name :
       {"request.OPEN", "request.OPENDIR", "request.CREATE", "request.MKDIR", "request.UNLINK",
        "request.RMDIR", "request.RENAME", "request.RENAME2", "request.LINK", "request.SYMLINK",
        "request.SETATTR", "request.READDIR", "request.READDIRPLUS", "request.STATFS"}) {
    requests += s[name];
  }
  jury.require(s["pooled"] >= requests, "what can block in workers");
}

void try_metadata(Jury& jury, Metadata metadata, const Statistics& s) {
  if (metadata == Metadata::kAuto) try_pool(jury, s);
  if (metadata != Metadata::kNested) {
    jury.requires_none({"nested_waits", "cqe.openat2", "cqe.statx", "cqe.mkdirat", "cqe.unlinkat",
                        "cqe.renameat", "cqe.linkat", "cqe.symlinkat", "cqe.setxattr",
                        "cqe.getxattr", "cqe.fallocate"});
    return;
  }
  jury.requires_some({"nested_waits"});
  // What waited behind a long one ran in the worker pool, by system calls; copies always do.
  const std::uint64_t copies = s["request.COPY_FILE_RANGE"] + s["request.COPY_FILE_RANGE_64"];
  const std::uint64_t pooled = s["pooled"] - std::min(copies, s["pooled"]);
  for (const Evidence& evidence : kMetadata) {
    std::uint64_t requests = 0;
    std::string names;
    for (const char* name : evidence.requests) {
      requests += s[name];
      names += std::string(names.empty() ? "" : " + ") + name;
    }
    jury.require(s[evidence.counter] + pooled >= requests,
                 std::string(evidence.counter) + " >= " + names);
  }
  const std::uint64_t attributes = s["request.GETATTR"] + s["request.STATX"];
  jury.require(s["request.LOOKUP"] == 0 || s["cqe.statx"] + pooled > attributes,
               "a STATX for what was found, beside those for GETATTR");
}

}  // namespace

std::optional<std::string> can_serve(const Mode& mode) {
  if (auto missing = can_mount_as(mode.who)) return missing;
  return mode.transport == Transport::kRing ? has_fuse_over_uring() : std::nullopt;
}

std::string Mode::name() const {
  std::string name = who == Who::kRoot ? "Root" : "User";
  name += capitalised(word_of(backing)) + capitalised(word_of(metadata));
  name += "Loops" + std::to_string(loops);
  return transport == Transport::kRing ? name + "OverRing" : name;
}

std::vector<std::string> Mode::options(const std::string& more) const {
  std::string words = "backing=" + word_of(backing);
  words += ",metadata=" + word_of(metadata);
  words += ",loops=" + std::to_string(loops);
  words += transport == Transport::kRing ? ",transport=ring" : ",transport=dev";
  if (!more.empty()) words += "," + more;
  return {"-o", words};
}

std::vector<Mode> all_modes() {
#if OURO_SANITIZED
  return {{Who::kRoot, Backing::kRing, Metadata::kInline, 2},
          {Who::kRoot, Backing::kRing, Metadata::kNested, 2},
          {Who::kPlainUser, Backing::kInline, Metadata::kNested, 1},
          {Who::kRoot, Backing::kRing, Metadata::kNested, 2, Transport::kRing},
          {Who::kRoot, Backing::kRing, Metadata::kAuto, 2},
          {Who::kRoot, Backing::kKernel, Metadata::kInline, 2}};
#else
  std::vector<Mode> modes = {
      {Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing},
      {Who::kRoot, Backing::kRing, Metadata::kNested, 1, Transport::kRing},
      {Who::kRoot, Backing::kInline, Metadata::kInline, 1, Transport::kRing},
      {Who::kPlainUser, Backing::kRing, Metadata::kNested, 2, Transport::kRing},
      {Who::kRoot, Backing::kKernel, Metadata::kInline, 2, Transport::kRing},
  };
  for (const Who who : {Who::kRoot, Who::kPlainUser}) {
    for (const Backing backing : {Backing::kRing, Backing::kInline}) {
      for (const Metadata metadata : {Metadata::kInline, Metadata::kNested}) {
        for (const unsigned loops : {1U, 2U}) modes.push_back({who, backing, metadata, loops});
      }
    }
  }
  modes.push_back({Who::kRoot, Backing::kKernel, Metadata::kInline, 2});
  modes.push_back({Who::kRoot, Backing::kKernel, Metadata::kNested, 1});
  modes.push_back({Who::kRoot, Backing::kRing, Metadata::kAuto, 1});
  modes.push_back({Who::kPlainUser, Backing::kRing, Metadata::kAuto, 2});
  modes.push_back({Who::kRoot, Backing::kRing, Metadata::kAuto, 2, Transport::kRing});
  modes.push_back({Who::kRoot, Backing::kKernel, Metadata::kAuto, 2});
  return modes;
#endif
}

std::vector<std::string> disprove(const Mode& mode, const Mounted& mounted,
                                  const Statistics& statistics, Work work) {
  Jury jury(statistics);
  jury.require(mounted.served("transport") == (mode.transport == Transport::kRing ? "ring" : "dev"),
               "it says so of the transport");
  jury.require(mounted.served("backing") == word_of(mode.backing), "it says so of the backing");
  jury.require(mounted.served("metadata") == word_of(mode.metadata), "it says so of metadata");
  jury.require(mounted.served("loops") == std::to_string(mode.loops), "it says so of the loops");
  jury.require(statistics.loops() == mode.loops, "each loop reports");
  try_transport(jury, mode.transport, statistics);
  try_backing(jury, mode, statistics);
  try_metadata(jury, mode.metadata, statistics);
  if (work != Work::kAny) {
    jury.requires_some({"request.FSYNC", "request.OPEN"});
    if (mode.backing == Backing::kKernel) {
      jury.require(statistics["kernel_opens"] > 20, "enough files that were given away");
    } else {
      jury.requires_some({"request.READ"});
      jury.require(statistics["request.WRITE"] > 20, "enough WRITEs to tell them from replies");
    }
  }
  if (work == Work::kEverything) {
    jury.requires_some({"request.LOOKUP", "request.GETATTR", "request.MKDIR", "request.UNLINK",
                        "request.RENAME", "request.LINK", "request.SYMLINK", "request.SETXATTR"});
  }
  return std::move(jury).objections();
}

}  // namespace ouro::testing
