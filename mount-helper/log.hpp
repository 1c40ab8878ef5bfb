// What ourofs tells its operator: lines "ourofs: ..." on stderr in the foreground, to syslog in the
// background. The only place that knows spdlog; the rooms below get a loop::LogSink.
// Any thread may log. Logging never blocks and never fails: a line that has no place is counted,
// and the count is told with the next one that has.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "loop/log.hpp"

namespace spdlog {
class logger;
}

namespace ouro::mount_helper {

class LineSink;

class Log {
 public:
  // Starts on stderr. Connects to syslog at once: later the way to its socket may lead through our
  // own mount.
  explicit Log(loop::LogLevel level);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  Log(Log&&) = delete;
  Log& operator=(Log&&) = delete;

  // From now on to syslog (facility daemon). For after Daemonizer::ready() in the background.
  void use_syslog();

  // `text` is one line without program name; control characters are replaced.
  void write(loop::LogLevel level, std::string_view text);

  // For the rooms below; valid as long as this object.
  [[nodiscard]] loop::LogSink sink();

  // Lines lost so far because stderr or syslog would have blocked or was gone.
  [[nodiscard]] std::uint64_t dropped_lines() const;

 private:
  std::shared_ptr<LineSink> lines_;
  std::unique_ptr<spdlog::logger> logger_;
};

}  // namespace ouro::mount_helper
