#include "mount-helper/log.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>

#include "loop/unique_fd.hpp"
#include "mount-helper/failure.hpp"

namespace ouro::mount_helper {
namespace {

using loop::UniqueFd;

spdlog::level::level_enum to_spdlog(loop::LogLevel level) {
  switch (level) {
    case loop::LogLevel::kError:
      return spdlog::level::err;
    case loop::LogLevel::kWarning:
      return spdlog::level::warn;
    case loop::LogLevel::kInfo:
      return spdlog::level::info;
    case loop::LogLevel::kDebug:
      return spdlog::level::debug;
  }
  return spdlog::level::err;
}

int to_syslog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::debug:
      return LOG_DEBUG;
    default:
      return LOG_INFO;
  }
}

const char* prefix_of(spdlog::level::level_enum level) {
  if (level == spdlog::level::warn) return "warning: ";
  if (level == spdlog::level::debug) return "debug: ";
  return "";
}

// Writes all of `line` or nothing, at once; false if that cannot be.
bool write_at_once(int fd, const std::string& line) {
  pollfd ready{fd, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return false;
  const iovec part{const_cast<char*>(line.data()), line.size()};
  // Our stderr is shared with others: O_NONBLOCK would be theirs, too, RWF_NOWAIT is ours alone.
  ssize_t written = ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
  if (written < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
    written = ::write(fd, line.data(), line.size());  // terminals and most files
  }
  return written == static_cast<ssize_t>(line.size());
}

// glibc's syslog() blocks while the daemon does not read, and such a daemon may be waiting for us.
UniqueFd connect_to_syslog() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, "/dev/log", sizeof(address.sun_path) - 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (!socket || ::connect(socket.get(), generic, sizeof(address)) != 0) return {};
  return socket;
}

}  // namespace

// Turns messages into lines and puts each where it belongs; spdlog serialises the calls.
class LineSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void use_syslog() {
    const std::lock_guard lock(mutex_);
    to_syslog_ = true;
  }
  [[nodiscard]] std::uint64_t dropped_lines() const { return dropped_.load(); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (dropped_.load() != reported_) {
      const std::uint64_t missing = dropped_.load() - reported_;
      const std::string note = std::to_string(missing) + " lines of this log were lost";
      if (put(spdlog::level::warn, note)) reported_ += missing;
    }
    if (!put(message.level, {message.payload.data(), message.payload.size()})) ++dropped_;
  }
  void flush_() override {}

 private:
  bool put(spdlog::level::level_enum level, std::string_view text) {
    // A pipe takes up to PIPE_BUF at once or not at all.
    constexpr std::size_t kLongestText = 4000;
    const std::string body = prefix_of(level) + printable(text.substr(0, kLongestText));
    if (!to_syslog_) return write_at_once(STDERR_FILENO, "ourofs: " + body + "\n");
    const std::string datagram = "<" + std::to_string(LOG_DAEMON | to_syslog(level)) + ">ourofs[" +
                                 std::to_string(::getpid()) + "]: " + body;
    return ::send(syslog_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
  }

  UniqueFd syslog_ = connect_to_syslog();
  bool to_syslog_ = false;
  std::atomic<std::uint64_t> dropped_{0};
  std::uint64_t reported_ = 0;
};

Log::Log(loop::LogLevel level)
    : lines_(std::make_shared<LineSink>()),
      logger_(std::make_unique<spdlog::logger>("ourofs", lines_)) {
  logger_->set_level(to_spdlog(level));
}

Log::~Log() = default;

void Log::use_syslog() {
  lines_->use_syslog();
}

void Log::write(loop::LogLevel level, std::string_view text) {
  logger_->log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

loop::LogSink Log::sink() {
  return [this](loop::LogLevel level, std::string_view text) { write(level, text); };
}

std::uint64_t Log::dropped_lines() const {
  return lines_->dropped_lines();
}

}  // namespace ouro::mount_helper
