// How the rooms speak to the operator without knowing who prints: a program hands down a sink.
// Lines are for people: no newline at the end, no secrets, no per-request chatter above kDebug.
// A sink may be called from any thread and never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace ouro::loop {

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

using LogSink = std::function<void(LogLevel, std::string_view)>;

}  // namespace ouro::loop
