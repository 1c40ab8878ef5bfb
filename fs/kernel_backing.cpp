#include "fs/kernel_backing.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "loop/invariant.hpp"
#include "loop/unique_fd.hpp"
#include "passthrough/file_system_kinds.hpp"
#include "passthrough/task_status.hpp"

namespace ouro::fs {
namespace {

using passthrough::DataWay;

// As whom `opener` writes a file; empty: as the daemon. Without CAP_FSETID, so that
// every write clears what it clears natively. Root has it; of root who has not, as of everybody
// else, the client sees that before each write and says so (Tree::change_attributes(), touch()).
//
// With all of his groups: the file may come to a group, and to bits, of which nobody thinks yet.
std::optional<passthrough::LastingCredentials> writer(const passthrough::Caller& opener) {
  if (opener.uid == 0) return std::nullopt;
  passthrough::LastingCredentials writer{passthrough::Credentials::owner(opener),
                                         passthrough::groups_of(opener.pid)};
  if (!writer.groups.empty()) writer.credentials.extra_group.reset();  // one of them
  return writer;
}

passthrough::IoMode::Opening opening_of(const passthrough::FileHandle& file,
                                        const passthrough::Caller& opener, std::uint32_t flags) {
  const auto access = static_cast<int>(flags & O_ACCMODE);
  passthrough::IoMode::Opening opening;
  // KERNEL(6.18): the client opens the given file with O_TRUNC once more. That means nothing to
  // local file systems; others (NFS, FUSE) would truncate it again, and with it what others have
  // written.
  opening.may_be_given = (flags & O_TRUNC) == 0 || !file.close_can_fail();
  opening.writes = access != O_RDONLY;
  opening.maps_writable = access == O_RDWR;
  // KERNEL(6.18): the client's own descriptor of the given file keeps the flags that it is opened
  // with (fs/backing-file.c). fcntl(F_SETFL) could not take O_APPEND away again, and not O_DIRECT
  // either, which dd(1) does before the odd rest at the end.
  opening.by_requests = opening.writes && (flags & (O_APPEND | O_DIRECT)) != 0;
  opening.writer = writer(opener);
  return opening;
}

// A regular file of the directory, or nothing.
loop::UniqueFd some_file_in(int directory) {
  constexpr int kEnough = 100;
  struct Close {
    void operator()(DIR* entries) const { ::closedir(entries); }
  };
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, Close> entries(fd < 0 ? nullptr : ::fdopendir(fd));
  for (int looked = 0; entries && looked < kEnough; ++looked) {
    const dirent* const entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    if (entry->d_type != DT_REG) continue;
    // Not opened for what it is: the source may have to be asked for that.
    loop::UniqueFd file(::openat(directory, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (file) return file;
  }
  return {};
}

}  // namespace

std::uint32_t stack_depth(const KernelBackingOptions& options, int source) {
  return options.max_stack_depth.value_or(passthrough::may_be_stacked(source) ? 2 : 1);
}

std::string reason_not_to_ask(std::uint64_t init_flags,
                              const passthrough::ProcessIdentity& identity) {
  if ((identity.capabilities() & (std::uint64_t{1} << CAP_SYS_ADMIN)) == 0) {
    return "it takes root (CAP_SYS_ADMIN)";
  }
  // KERNEL(6.9): with both, the client goes without (fs/fuse/inode.c, process_init_reply()).
  if ((init_flags & FUSE_WRITEBACK_CACHE) != 0) return "it excludes writeback";
  return {};
}

std::string reason_of_refusal(int errno_value) {
  if (errno_value == ELOOP) return "SOURCE is stacked too deep (ELOOP)";
  if (errno_value == EPERM)
    return "it takes CAP_SYS_ADMIN of the whole machine, not of a container";
  return std::strerror(errno_value);
}

// --- ChannelFiles --------------------------------------------------------------------------------

loop::Result<int> ChannelFiles::give(int fd, const passthrough::LastingCredentials* identity) {
  using Groups = std::span<const gid_t>;
  const passthrough::ScopedCredentials scope(
      identity_, identity != nullptr ? &identity->credentials : nullptr,
      identity != nullptr ? Groups(identity->groups) : Groups());
  const wire::BackingMap map{fd, 0, 0};
  const loop::KernelResult number = loop::from_libc(::ioctl(channel_fd_, wire::kBackingOpen, &map));
  if (number < 0) return loop::fail(static_cast<int>(-number));
  return static_cast<int>(number);
}

void ChannelFiles::take_back(int number) {
  const auto closed = static_cast<std::uint32_t>(number);
  // The connection may have ended, and with it what it was given.
  static_cast<void>(::ioctl(channel_fd_, wire::kBackingClose, &closed));
}

loop::Status ChannelFiles::try_out(int source) {
  const loop::UniqueFd root(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return loop::fail(errno);
  // KERNEL: who may do it is looked at before what is given, which is no regular file.
  const auto none = give(root.get(), nullptr);
  if (!none && none.error() == loop::Errno(EPERM)) return loop::fail(EPERM);
  // How deep it is stacked, only a file tells.
  if (!passthrough::may_be_stacked(source)) return {};
  const loop::UniqueFd file = some_file_in(source);
  if (!file) return {};
  const auto number = give(file.get(), nullptr);
  // KERNEL(6.12): takes an O_PATH descriptor. What says nothing before that shows later.
  if (!number && number.error() == loop::Errno(ELOOP)) return loop::fail(ELOOP);
  if (number) take_back(*number);
  return {};
}

// --- KernelBacking -------------------------------------------------------------------------------

bool KernelBacking::answer_open(passthrough::FileHandle& file, const passthrough::Caller& opener,
                                std::uint32_t client_flags, fuse_open_out& out) {
  const auto& mode = file.inode().io_mode;
  loop::invariant(mode != nullptr, "a tree that gives files has an IoMode of each");
  auto share = passthrough::IoMode::join(mode, files_, file.buffered_fd(),
                                         opening_of(file, opener, client_flags));
  count(share);
  const bool unseen = share.begins_unseen();
  if (share.way() != DataWay::kRequests) {
    // KERNEL(6.9): the client takes no other flags beside it, and drops the pages that it has.
    out.open_flags &= FOPEN_NOFLUSH;
    out.open_flags |= wire::kOpenPassthrough;
    if (share.way() == DataWay::kMixed) {
      out.open_flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    }
    const std::int32_t number = share.number();
    std::memcpy(reinterpret_cast<std::byte*>(&out) + wire::kBackingIdAt, &number, sizeof number);
    if (file.inode().content) file.inode().content->end();
  }
  file.set_io_mode(std::move(share));
  return unseen;
}

void KernelBacking::count(const passthrough::IoMode::Share& share) {
  switch (share.way()) {
    case DataWay::kGiven:
      counters_.opens.fetch_add(1, std::memory_order_relaxed);
      return;
    case DataWay::kMixed:
      counters_.mixed_opens.fetch_add(1, std::memory_order_relaxed);
      return;
    case DataWay::kRequests:
      counters_.other_opens.fetch_add(1, std::memory_order_relaxed);
      break;
  }
  if (share.refusal() == 0 || told_of_refusal_.exchange(true)) return;
  log_(loop::LogLevel::kWarning, "backing=kernel is refused for a file, which goes by requests: " +
                                     reason_of_refusal(share.refusal()));
}

}  // namespace ouro::fs
