// The command line of ourofs as plain values: what was asked for, before any path is looked at.
// parse_options() is the only way in; the words themselves live in option_table.cpp.
// Used by main at start, single-threaded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "loop/log.hpp"
#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {

// How long the kernel may trust what it was told; the timeouts below override a mode's own.
enum class CacheMode : std::uint8_t { kNever, kMetadata, kAuto, kAlways };
// How requests come: by the ring where the kernel offers that, by /dev/fuse, or by the ring.
enum class TransportMode : std::uint8_t { kAuto, kDev, kRing };
// Who moves the data of files: SQEs on the shared ring, system calls of the loop's thread, or the
// kernel by itself; kAuto is the kernel where it can be had, and else the ring.
enum class BackingMode : std::uint8_t { kRing, kInline, kKernel, kAuto };
// How metadata waits: in the system call, on the ring in a nested poll, or in a worker if at all.
enum class MetadataMode : std::uint8_t { kInline, kNested, kAuto };

// Where locks of files are kept: within the mount, or in the source for everybody.
enum class LockMode : std::uint8_t { kLocal, kRemote };

// Whether inodes that the kernel caches may be held by file handles instead of descriptors.
enum class FileHandles : std::uint8_t { kNever, kPrefer, kMandatory };

// Whether the program confines itself while it serves (sandbox.hpp).
enum class SandboxMode : std::uint8_t { kNone, kSeccomp };

inline constexpr unsigned kMaxLoops = 64;
inline constexpr unsigned kMaxQueueDepth = 1024;
inline constexpr std::uint32_t kPageBytes = 4096;
inline constexpr std::uint32_t kMaxPages = 65535;  // 16 bits of FUSE_INIT
inline constexpr std::uint32_t kMaxReadAheadBytes = 1U << 30U;

// One per CPU that this process may run on, at most 4.
[[nodiscard]] unsigned default_loops();

// Sanitizers make system calls of their own, and trace the process.
inline constexpr SandboxMode kDefaultSandbox =
    OURO_SANITIZED != 0 ? SandboxMode::kNone : SandboxMode::kSeccomp;

struct Options {
  std::string source;      // as given; see resolve_places()
  std::string mountpoint;  // as given

  bool foreground = false;  // also set by debug
  bool debug = false;       // also sets log_level
  loop::LogLevel log_level = loop::LogLevel::kInfo;

  unsigned loops = default_loops();
  CacheMode cache = CacheMode::kAuto;
  std::optional<double> attr_timeout_s;  // unset: the cache mode decides
  std::optional<double> entry_timeout_s;
  std::optional<double> negative_timeout_s;
  bool writeback = false;
  bool direct_io = false;
  TransportMode transport = TransportMode::kDev;
  unsigned queue_depth = 64;
  BackingMode backing = BackingMode::kRing;
  std::optional<unsigned> passthrough_stack_depth;  // 1 or 2; unset: by what the source is on
  MetadataMode metadata = MetadataMode::kInline;
  std::uint32_t max_write_bytes = 1U << 20U;         // whole pages; see settle_max_write()
  std::optional<std::uint32_t> max_readahead_bytes;  // whole pages; unset: the kernel's
  bool raise_max_pages_limit = false;  // for that; root only, and for all of the machine
  LockMode locks = LockMode::kLocal;
  bool one_file_system = false;
  FileHandles inode_file_handles = FileHandles::kPrefer;
  SandboxMode sandbox = kDefaultSandbox;

  bool idmap = false;  // root only
  bool allow_other = false;
  // The kernel lets everyone in; the session must turn away all but root and the mounting user.
  bool allow_root = false;
  bool default_permissions = false;  // forced by the three above

  bool auto_unmount = false;

  // Options that libfuse takes, in the order given: "ro", "fsname=a,b". Unescaped.
  std::vector<std::string> mount_options;
  // MOUNT_ATTR_* to set on the mount once it exists: libfuse 3.14 does not know these options.
  std::uint64_t mount_attributes = 0;
};

enum class Action : std::uint8_t { kMount, kShowHelp, kShowVersion };

struct CommandLine {
  Action action = Action::kMount;
  Options options;  // complete and consistent for kMount, otherwise not to be used
};

// Reads the whole command line. Every error is a usage error (exit code 1).
[[nodiscard]] Outcome<CommandLine> parse_options(int argc, char** argv);

// The options for libfuse: those given, and those that follow from `options` and from the
// absolute path of the source (fsname, subtype, allow_other, default_permissions). Unescaped.
[[nodiscard]] std::vector<std::string> libfuse_options(const Options& options,
                                                       const std::string& absolute_source);

// MOUNT_ATTR_*: what holds for the source as well as for the mount. The mount's own flags do not
// reach it: whether a read moves an access time is decided where it is read.
[[nodiscard]] std::uint64_t source_attributes(const Options& options);

// The text of --help, made from the option table; ends with a newline.
[[nodiscard]] std::string help_text();

}  // namespace ouro::mount_helper
