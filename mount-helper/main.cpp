// ourofs SOURCE MOUNTPOINT: mounts a directory and serves it. The only place that knows all the
// parts; each step either succeeds or says in one line why not, before anything is left behind.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "fs/protocol.hpp"
#include "fs/session.hpp"
#include "mount-helper/byte_size.hpp"
#include "mount-helper/daemonize.hpp"
#include "mount-helper/fd_limit.hpp"
#include "mount-helper/log.hpp"
#include "mount-helper/mount_command.hpp"
#include "mount-helper/mount_point.hpp"
#include "mount-helper/option_table.hpp"
#include "mount-helper/options.hpp"
#include "mount-helper/sandbox.hpp"
#include "mount-helper/session_options.hpp"
#include "mount-helper/shutdown.hpp"
#include "mount-helper/source_tree.hpp"
#include "mount-helper/transfer_sizes.hpp"
#include "mount-helper/version.hpp"
#include "passthrough/task_status.hpp"
#include "passthrough/tree.hpp"

namespace ouro::mount_helper {
namespace {

template <typename T>
Outcome<T> or_give_up(loop::Result<T> result, const std::string& what) {
  if (result) return std::move(*result);
  return give_up(ExitCode::kSystem, what + ": " + errno_text(result.error().value()));
}

// Why a session cannot begin, with what usually helps.
Failure session_failure(int errno_value) {
  Failure failure{ExitCode::kMountFailed, "cannot serve the mount: " + errno_text(errno_value), {}};
  if (errno_value == ENOSYS || errno_value == EPERM) {
    failure.message = "io_uring is not available: " + errno_text(errno_value);
    failure.hint = "see sysctl kernel.io_uring_disabled and the seccomp profile of a container";
  } else if (errno_value == EPROTO) {
    failure.message = "the kernel's FUSE protocol is older than 7.31";
  } else if (errno_value == ENOMEM) {
    failure.hint = "a lower max_write or queue_depth takes less";
  }
  return failure;
}

// One channel per loop: libfuse's own, and clones of it. Fewer if the kernel or the permissions of
// /dev/fuse do not let us have them.
Outcome<std::vector<loop::UniqueFd>> clone_channels(const MountPoint& mount_point, unsigned loops,
                                                    Log& log) {
  std::vector<loop::UniqueFd> clones;
  while (clones.size() + 1 < loops) {
    auto clone = clone_channel(mount_point.channel_fd());
    if (!clone && clone.error() == loop::Errno(EMFILE)) {
      return give_up(ExitCode::kSystem,
                     "cannot open a channel for each of " + std::to_string(loops) +
                         " loops: " + errno_text(EMFILE),
                     "raise ulimit -n, or ask for fewer loops");
    }
    if (!clone) {
      log.write(loop::LogLevel::kWarning,
                "cannot clone the FUSE channel: " + errno_text(clone.error().value()) +
                    "; serving with " + std::to_string(clones.size() + 1) + " loop(s)");
      break;
    }
    clones.push_back(std::move(*clone));
  }
  return clones;
}

// `open_files`: the limit. `log` outlives the tree.
passthrough::Watermark nearly_all(std::uint64_t open_files, Log& log) {
  return {static_cast<std::size_t>(open_files / 10 * 9), [open_files, &log] {
            log.write(loop::LogLevel::kWarning,
                      "the kernel caches so many inodes that 90 % of the limit of " +
                          std::to_string(open_files) +
                          " open files are in use; beyond it, calls fail with EMFILE");
          }};
}

std::function<void()> tell_of_refusal(std::uint64_t open_files, Log& log) {
  return [open_files, &log] {
    log.write(loop::LogLevel::kWarning,
              "so many files are open that 7/8 of the limit of " + std::to_string(open_files) +
                  " are in use; what is opened beyond that fails with EMFILE");
  };
}

// How many inodes may hold a descriptor. Half of the limit is left to open files.
std::size_t descriptors_for_inodes(FileHandles use, std::uint64_t open_files) {
  return use == FileHandles::kMandatory ? 1 : static_cast<std::size_t>(open_files / 2);
}

passthrough::Tree::Options options_of_tree(const Options& options, SourceTree::View view) {
  passthrough::Tree::Options tree;
  using passthrough::Submounts;
  if (options.one_file_system) {
    tree.submounts = Submounts::kStay;
  } else if (view == SourceTree::View::kShared) {
    tree.submounts = Submounts::kAvoidOwn;
  }
  tree.watches_content = watches_content(options);
  tree.gives_files =
      options.backing == BackingMode::kKernel || options.backing == BackingMode::kAuto;
  if (options.writeback) tree.write_back = passthrough::WriteBack::kOn;
  return tree;
}

Outcome<std::unique_ptr<passthrough::Tree>> open_tree(const Options& options, SourceTree& source,
                                                      std::uint64_t open_files, Log& log) {
  passthrough::Tree::Options tree_options = options_of_tree(options, source.view);
  tree_options.watermark = nearly_all(open_files, log);
  tree_options.max_open_files = static_cast<std::size_t>(open_files);
  tree_options.open_refused = tell_of_refusal(open_files, log);
  // In a view that others share, a file system may be covered by a mount of a part of itself.
  tree_options.is_whole = source.is_whole && source.view == SourceTree::View::kPrivateClone;
  tree_options.file_handles = options.inode_file_handles != FileHandles::kNever;
  tree_options.max_descriptors = descriptors_for_inodes(options.inode_file_handles, open_files);
  auto tree = or_give_up(passthrough::Tree::create(std::move(source.root), tree_options),
                         "cannot serve " + quoted(source.path));
  if (!tree || (*tree)->handles() || !tree_options.file_handles) return tree;
  const std::string reason = errno_text((*tree)->handles().error().value());
  if (options.inode_file_handles == FileHandles::kMandatory) {
    return give_up(ExitCode::kSystem,
                   "cannot use file handles of " + quoted(source.path) + ": " + reason,
                   "inode_file_handles=prefer does without them where it must");
  }
  log.write(loop::LogLevel::kDebug, "no file handles of " + quoted(source.path) + " (" + reason +
                                        "): every cached inode holds an open file");
  return tree;
}

// What is asked of the channel while serving.
std::vector<unsigned long> channel_ioctls(const fs::Session& session) {
  if (session.connection().kernel_backing == nullptr) return {};
  return {fs::wire::kBackingOpen, fs::wire::kBackingClose};
}

std::string serving_line(const Options& options, const Places& places, const fs::Session& session,
                         std::uint64_t read_ahead_bytes, std::size_t loops) {
  const fs::Negotiated& negotiated = session.connection().negotiated;
  const bool remote_locks = (negotiated.flags & FUSE_POSIX_LOCKS) != 0;
  const bool writeback = (negotiated.flags & FUSE_WRITEBACK_CACHE) != 0;
  return "serving " + quoted(places.source) + " on " + quoted(places.mountpoint) + " " +
         session.modes() + " locks=" + (remote_locks ? "remote" : "local") +
         " cache=" + std::string(cache_word(options.cache)) +
         " writeback=" + (writeback ? "on" : "off") +
         " nfs_export=" + ((negotiated.flags & FUSE_EXPORT_SUPPORT) != 0 ? "on" : "off") +
         " max_write=" + byte_size_text(negotiated.max_write_bytes) +
         " max_readahead=" + byte_size_text(read_ahead_bytes) + " loops=" + std::to_string(loops) +
         " protocol=7." + std::to_string(std::min(negotiated.kernel_minor, fs::wire::kMinor));
}

// Everything from the mount to the unmount.
Outcome<ExitCode> serve(const Options& options, const Places& places, Daemonizer& daemonizer,
                        std::uint64_t open_files, Log& log) {
  passthrough::open_task_directory();
  Sandbox sandbox(options.sandbox, log);
  sandbox.reduce_privileges();
  auto identity = or_give_up(passthrough::ProcessIdentity::take(), "cannot take on an identity");
  if (!identity) return tl::unexpected(identity.error());
  // Opened before our mount covers it.
  loop::UniqueFd covered(::open(places.mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto source = open_source_tree(
      places.source, options.one_file_system ? Submounts::kExclude : Submounts::kInclude,
      source_attributes(options));
  if (!source) return tl::unexpected(source.error());
  auto tree = open_tree(options, *source, open_files, log);
  if (!tree) return tl::unexpected(tree.error());
  fs::SessionOptions session_wanted = session_options(options);
  session_wanted.max_write_bytes = settle_max_write(options, max_pages_limit(), log);
  const loop::UniqueFd read_aheads = open_read_aheads();
  auto mount_point = MountPoint::create({places.mountpoint, libfuse_options(options, places.source),
                                         options.mount_attributes, options.auto_unmount});
  if (!mount_point) return tl::unexpected(mount_point.error());
  if (source->view == SourceTree::View::kShared) {
    auto own = or_give_up(mount_at(places.mountpoint), "cannot identify the mount");
    if (!own) return tl::unexpected(own.error());
    (*tree)->set_own_mount({own->number, own->device, std::move(covered)});
  }

  const auto clones = clone_channels(**mount_point, options.loops, log);
  if (!clones) return tl::unexpected(clones.error());
  std::vector<int> channels{(*mount_point)->channel_fd()};
  for (const loop::UniqueFd& clone : *clones) channels.push_back(clone.get());
  auto session = fs::Session::create(channels, **tree, *identity, session_wanted, log.sink());
  if (!session) return tl::unexpected(session_failure(session.error().value()));
  const fs::Negotiated& negotiated = (*session)->connection().negotiated;
  const std::uint64_t read_ahead =
      settle_read_ahead(options, read_ahead_of((*mount_point)->device(), read_aheads),
                        negotiated.max_readahead_bytes, log);
  if (options.idmap && (negotiated.flags & fs::wire::kAllowIdmap) == 0) {
    log.write(loop::LogLevel::kWarning, "this kernel has no idmapped mounts of FUSE");
  }
  auto shutdown = or_give_up(
      Shutdown::create(**session, **mount_point,
                       options.foreground ? Hangup::kEndsMount : Hangup::kIsIgnored, log),
      "cannot watch signals");
  if (!shutdown) return tl::unexpected(shutdown.error());

  daemonizer.ready();
  if (!options.foreground) log.use_syslog();
  sandbox.filter_calls(channel_ioctls(**session));
  sandbox.report();
  log.write(loop::LogLevel::kInfo,
            serving_line(options, places, **session, read_ahead, channels.size()));
  const auto disconnected = (*session)->run();
  const bool regular = !disconnected || *disconnected == fs::Disconnect::kUnmounted;
  return regular ? ExitCode::kOk : ExitCode::kSystem;
}

Outcome<ExitCode> print(const std::string& text) {
  // Flushed here, because nobody is told what goes wrong at exit.
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    return give_up(ExitCode::kSystem, "cannot write: " + errno_text(errno));
  }
  return ExitCode::kOk;
}

Outcome<ExitCode> run(const CommandLine& command) {
  if (command.action == Action::kShowHelp) return print(help_text());
  if (command.action == Action::kShowVersion) {
    return print(version_text({fs::wire::kMajor, fs::wire::kMinor}));
  }
  const Options& options = command.options;
  const auto places = resolve_places(options.source, options.mountpoint);
  if (!places) return tl::unexpected(places.error());
  const auto limit = raise_fd_limit();
  if (!limit) return tl::unexpected(limit.error());
  block_signals();
  auto daemonizer = Daemonizer::start(options.foreground ? Daemonizer::Mode::kForeground
                                                         : Daemonizer::Mode::kBackground);
  if (!daemonizer) return tl::unexpected(daemonizer.error());
  Log log(options.log_level);
  return serve(options, *places, *daemonizer, *limit, log);
}

// What was typed by a person.
Outcome<ExitCode> run_line(int argc, char** argv) {
  const auto command = parse_options(argc, argv);
  if (!command) return tl::unexpected(command.error());
  return run(*command);
}

// What mount(8) asks for.
Outcome<ExitCode> run_mount_command(int argc, char** argv) {
  auto command = parse_mount_command(argc, argv);
  if (!command) return tl::unexpected(command.error());
  ::prctl(PR_SET_NAME, "ourofs");  // what it is, whatever it was called by
  if (command->remount) {
    if (command->fake) return ExitCode::kOk;
    return remount(*command).map([] { return ExitCode::kOk; });
  }
  if (!command->user.empty()) {
    if (auto become = become_user(command->user); !become) return tl::unexpected(become.error());
  }
  std::vector<char*> line;
  for (std::string& argument : command->arguments) line.push_back(argument.data());
  line.push_back(nullptr);
  const int words = static_cast<int>(command->arguments.size());
  if (!command->fake) return run_line(words, line.data());
  const auto options = parse_options(words, line.data());
  if (!options) return tl::unexpected(options.error());
  return resolve_places(options->options.source, command->mountpoint).map([](const Places&) {
    return ExitCode::kOk;
  });
}

int program(int argc, char** argv) {
  forget_inheritance();
  const Outcome<ExitCode> outcome =
      is_mount_command(argv[0]) ? run_mount_command(argc, argv) : run_line(argc, argv);
  if (outcome) return static_cast<int>(*outcome);
  std::fprintf(stderr, "%s\n", render(outcome.error()).c_str());
  return static_cast<int>(outcome.error().exit_code);
}

}  // namespace
}  // namespace ouro::mount_helper

int main(int argc, char** argv) {
  return ouro::mount_helper::program(argc, argv);
}
