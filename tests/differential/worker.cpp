#include "tests/differential/worker.hpp"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "tests/differential/observe.hpp"
#include "tests/differential/parameters.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

constexpr char kBegin = 'B';
constexpr char kEnd = 'E';
constexpr char kCall = 'C';

// The kernel sets it in every descriptor of a 64-bit process; for libc it is 0 there.
constexpr int kLargeFileFlag = 0100000;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  ::_exit(2);
}

void become(const Identity& identity) {
  if (::geteuid() != 0) return;
  if (::setgroups(identity.groups.size(), identity.groups.data()) != 0) die("setgroups");
  if (::setresgid(identity.gid, identity.gid, identity.gid) != 0) die("setresgid");
  if (::setresuid(identity.uid, identity.uid, identity.uid) != 0) die("setresuid");
}

// What the descriptors of a call are: rules about known differences ask for it. Done without a
// request to the file system (AT_STATX_DONT_SYNC), which would refresh what it has cached.
void describe_slots(const Side& side, const Call& call, Outcome& outcome) {
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].type->role != Role::kSlot) continue;
    const int fd = side.fd(call.arguments[i].number);
    struct statx attributes {};
    if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &attributes) != 0) continue;
    const std::string prefix = std::string(parameters[i].name) + "/";
    const Argument flags{::fcntl(fd, F_GETFL) & ~(O_NONBLOCK | kLargeFileFlag), {}};
    outcome.text(prefix + "kind", type_name(attributes.stx_mode));
    outcome.text(prefix + "flags", format_argument(kOpenFlags, flags));
  }
}

// The attributes of everything the call was about, by name and by descriptor.
void probe(Side& side, const Call& call, Outcome& outcome) {
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Argument& argument = call.arguments[i];
    const std::string prefix = std::string(parameters[i].name) + "/";
    struct stat attributes {};
    int result = -1;
    if (parameters[i].type->role == Role::kValue) continue;
    if (parameters[i].type->role == Role::kPath) {
      result = ::lstat(expand_path(argument.text).c_str(), &attributes);
    } else {
      result = ::fstat(side.fd(argument.number), &attributes);
    }
    outcome.text(prefix + "probe", errno_name(result == 0 ? 0 : errno));
    if (result == 0) observe_stat(outcome, prefix, attributes, side.root_device());
  }
}

Outcome perform(Side& side, const Call& call) {
  Outcome outcome;
  const bool entered = outcome.finish(side.enter());
  // The kernel stamps with its coarse clock or, where somebody has looked, with the fine one.
  outcome.when.begin_ns = clock_ns(CLOCK_REALTIME_COARSE);
  if (entered) call.row->execute(side, call, outcome);
  outcome.when.end_ns = clock_ns(CLOCK_REALTIME);
  if (entered) describe_slots(side, call, outcome);
  if (entered && call.probe) probe(side, call, outcome);
  return outcome;
}

class WorkerLoop {
 public:
  WorkerLoop(Channel channel, std::string name)
      : channel_(std::move(channel)), names_{std::move(name)} {}

  [[noreturn]] void run() {
    while (true) {
      auto message = channel_.receive(kNoTimeout);
      if (!message) ::_exit(0);
      if (message->bytes.front() == kCall) {
        answer_call(message->bytes.substr(1));
      } else {
        change_sequence(*message);
      }
    }
  }

 private:
  void change_sequence(Message& message) {
    if (message.bytes.front() == kBegin && message.fds.size() == 2) {
      ::umask(0);
      native_.begin(std::move(message.fds[0]));
      mount_.begin(std::move(message.fds[1]));
    } else {
      native_.end();
      mount_.end();
    }
    if (!channel_.send("ok")) ::_exit(2);
  }

  void answer_call(const std::string& line) {
    const auto call = parse_call(line, names_);
    if (!call) {
      fmt::print(stderr, "worker: this is no call: {}\n", line);
      ::_exit(2);
    }
    for (Side* side : {&native_, &mount_}) {
      if (!channel_.send(perform(*side, *call).encode())) ::_exit(2);
    }
  }

  Channel channel_;
  std::vector<std::string> names_;
  Side native_;
  Side mount_;
};

[[noreturn]] void work(Channel channel, const Identity& identity) {
  ::signal(SIGXFSZ, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  become(identity);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of credentials would have taken it back
  WorkerLoop(std::move(channel), identity.name).run();
}

}  // namespace

std::vector<Identity> make_identities(Users users) {
  const uid_t own_uid = ::geteuid();
  std::vector<Identity> identities{{own_uid == 0 ? "root" : "self", own_uid, ::getegid(), {}}};
  if (users == Users::kSeveral) {
    identities.push_back({"u1001", 1001, 1001, {}});
    identities.push_back({"u1002", 1002, 1002, {2001}});
  }
  return identities;
}

loop::Result<std::unique_ptr<Workers>> Workers::create(const std::vector<Identity>& identities,
                                                       int timeout_ms) {
  std::unique_ptr<Workers> workers(new Workers(timeout_ms));
  for (const Identity& identity : identities) OURO_TRY(workers->start(identity));
  return workers;
}

loop::Status Workers::start(const Identity& identity) {
  OURO_TRY_ASSIGN(auto ends, make_channel_pair());
  const pid_t pid = ::fork();
  if (pid < 0) return loop::fail(errno);
  if (pid == 0) {
    processes_.clear();  // the ends of its siblings are none of its business
    ends.first.reset();
    work(Channel(std::move(ends.second)), identity);
  }
  names_.push_back(identity.name);
  processes_.push_back({pid, std::make_unique<Channel>(std::move(ends.first))});
  return {};
}

Workers::~Workers() {
  for (Process& process : processes_) {
    process.channel.reset();  // the worker sees the end and leaves
    ::waitpid(process.pid, nullptr, 0);
  }
}

loop::Status Workers::command(char what, std::span<const int> fds) {
  for (Process& process : processes_) {
    OURO_TRY(process.channel->send(std::string_view(&what, 1), fds));
    const auto answer = process.channel->receive(timeout_ms_);
    if (!answer) {
      trouble_ = "a worker did not answer while a sequence began or ended";
      return loop::fail(answer.error().value());
    }
  }
  return {};
}

loop::Status Workers::begin(int native_root, int mount_root) {
  const int roots[] = {native_root, mount_root};
  return command(kBegin, roots);
}

loop::Status Workers::end() {
  return command(kEnd, {});
}

loop::Result<Outcome> Workers::receive_outcome(Channel& channel, const char* side) {
  auto message = channel.receive(timeout_ms_);
  if (!message) {
    trouble_ = fmt::format("no answer from the {} side", side);
    return loop::fail(message.error().value());
  }
  auto outcome = Outcome::decode(message->bytes);
  if (!outcome) return loop::fail(EBADMSG);
  return *std::move(outcome);
}

loop::Result<BothOutcomes> Workers::execute(const Call& call) {
  Channel& channel = *processes_[static_cast<std::size_t>(call.identity)].channel;
  OURO_TRY(channel.send(kCall + format_call(call, names_)));
  OURO_TRY_ASSIGN(Outcome native, receive_outcome(channel, "native"));
  OURO_TRY_ASSIGN(Outcome mount, receive_outcome(channel, "mount"));
  return BothOutcomes{std::move(native), std::move(mount)};
}

}  // namespace ouro::differential
