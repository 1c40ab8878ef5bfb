// A log sink that keeps the lines, for tests that assert what the operator is told. Any thread.
#pragma once

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "loop/log.hpp"

namespace ouro::fs {

class LogCapture {
 public:
  // Borrows this object.
  [[nodiscard]] loop::LogSink sink() {
    return [this](loop::LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
    };
  }
  // The lines with `text` in them.
  [[nodiscard]] std::vector<std::string> containing(std::string_view text) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> found;
    std::copy_if(lines_.begin(), lines_.end(), std::back_inserter(found),
                 [&](const std::string& line) { return line.find(text) != std::string::npos; });
    return found;
  }
  [[nodiscard]] bool has(std::string_view text) const { return !containing(text).empty(); }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace ouro::fs
