// Logs every request and how it ended, for -d. Stands between a transport and its server, so that
// serving without it costs nothing. Home thread of the transport.
#pragma once

#include "fs/transport.hpp"
#include "loop/log.hpp"

namespace ouro::fs {

class RequestTracer final : public RequestSink {
 public:
  RequestTracer(RequestSink& next, loop::LogSink log) : next_(next), log_(std::move(log)) {}

  void on_request(Request& request) override;
  void on_reply_lost(Request& request) override;
  void on_finished(Request& request) override;
  void on_disconnect(Disconnect reason) override { next_.on_disconnect(reason); }

 private:
  RequestSink& next_;
  const loop::LogSink log_;
};

}  // namespace ouro::fs
