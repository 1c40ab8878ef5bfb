#include "fs/request.hpp"

#include "fs/argument_reader.hpp"
#include "fs/server.hpp"
#include "passthrough/task_status.hpp"

namespace ouro::fs {

bool Request::receive(std::span<const std::byte> message) {
  if (message.size() < sizeof header_) return false;
  std::memcpy(&header_, message.data(), sizeof header_);
  error_ = 0;
  reply_bytes_ = 0;
  left_open_ = false;
  wants_worker_ = false;
  replied_ = false;
  interrupted_ = false;
  goes_past_.reset();
  arguments_ = message.subspan(sizeof header_);
  extensions_ = {};
  const std::size_t extension_bytes = std::size_t{header_.total_extlen} * 8;
  if (header_.len != message.size() || extension_bytes > arguments_.size()) return false;
  extensions_ = arguments_.last(extension_bytes);
  arguments_ = arguments_.first(arguments_.size() - extension_bytes);
  return true;
}

passthrough::Caller Request::caller() const {
  passthrough::Caller caller{.uid = header_.uid,
                             .gid = header_.gid,
                             .pid = static_cast<pid_t>(header_.pid),
                             .extra_group = {}};
  // It matters for what is done to set-id bits and shown of trusted attributes. The ids are the
  // task's own: an idmapped mount may show others, which is told with what creates.
  if (header_.uid == wire::kInvalidId) caller = passthrough::caller_of(caller.pid);
  std::span<const std::byte> rest = extensions_;
  while (rest.size() >= sizeof(fuse_ext_header)) {
    fuse_ext_header extension;
    std::memcpy(&extension, rest.data(), sizeof extension);
    if (extension.size < sizeof extension || extension.size > rest.size()) break;
    ArgumentReader reader(rest.first(extension.size).subspan(sizeof extension));
    wire::SuppGroups groups{};
    std::uint32_t group = 0;
    if (extension.type == wire::kExtGroups && reader.read(groups) && groups.nr_groups > 0 &&
        reader.read(group)) {
      caller.extra_group = group;
    }
    rest = rest.subspan(extension.size);
  }
  return caller;
}

void Request::succeed(std::size_t payload_bytes) {
  error_ = 0;
  reply_bytes_ = payload_bytes;
}

void Request::fail(int errno_value) {
  error_ = errno_value;
  reply_bytes_ = 0;
}

void Request::transfer_done(loop::KernelResult result) {
  server_->finish_transfer(*this, result);
}
void Request::run() {
  server_->run_in_pool(*this);
}
void Request::done() {
  server_->finish_pooled(*this);
}

}  // namespace ouro::fs
