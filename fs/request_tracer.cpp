#include "fs/request_tracer.hpp"

#include <cstring>
#include <string>

#include "fs/opcode_table.hpp"

namespace ouro::fs {
namespace {

std::string describe(const Request& request) {
  const fuse_in_header& header = request.header();
  const OpcodeRow* row = find_opcode(header.opcode);
  return "unique=" + std::to_string(header.unique) + " " +
         (row != nullptr ? row->name : "opcode " + std::to_string(header.opcode));
}

}  // namespace

void RequestTracer::on_request(Request& request) {
  const fuse_in_header& header = request.header();
  log_(loop::LogLevel::kDebug,
       describe(request) + " node=" + std::to_string(header.nodeid) +
           " bytes=" + std::to_string(header.len) + " uid=" + std::to_string(header.uid) +
           " gid=" + std::to_string(header.gid) + " pid=" + std::to_string(header.pid));
  next_.on_request(request);
}

void RequestTracer::on_reply_lost(Request& request) {
  log_(loop::LogLevel::kDebug, describe(request) + ": the reply did not arrive");
  next_.on_reply_lost(request);
}

void RequestTracer::on_finished(Request& request) {
  const char* error = request.error() == 0 ? "ok" : ::strerrorname_np(request.error());
  log_(loop::LogLevel::kDebug, describe(request) + ": " + (error != nullptr ? error : "error") +
                                   ", " + std::to_string(request.reply_payload().size()) +
                                   " bytes");
  next_.on_finished(request);
}

}  // namespace ouro::fs
