// What the kernel is told without having asked, in its own words.
#pragma once

#include <cstdint>

#include "fs/transport.hpp"

namespace ouro::fs {

// The attributes that the client has of an inode are no longer right, and nothing else will tell
// it. Before the reply to whoever changed them. To drop them the kernel waits for nothing but the
// end of an inode that is going; so a thread that serves requests may do this where the inode is in
// use.
void drop_attributes(const Notifier& notifier, std::uint64_t node);

// The pages that the client has of a file are no longer its content. Waits for READs and WRITEs of
// them: never in a thread that serves requests.
void drop_pages(const Notifier& notifier, std::uint64_t node);
// Of a part of it: `bytes` at `offset`, at least one.
void drop_pages(const Notifier& notifier, std::uint64_t node, std::uint64_t offset,
                std::uint32_t bytes);

}  // namespace ouro::fs
