// From what the user asked for to what the session is built with: the meaning of the cache modes.
// Plain functions, used by main.
#pragma once

#include "fs/session.hpp"
#include "mount-helper/options.hpp"

namespace ouro::mount_helper {

[[nodiscard]] fs::CachePolicy cache_policy(const Options& options);
// Whether pages are cached of files that others may change.
[[nodiscard]] bool watches_content(const Options& options);
[[nodiscard]] fs::SessionOptions session_options(const Options& options);

}  // namespace ouro::mount_helper
