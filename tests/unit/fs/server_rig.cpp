#include "tests/unit/fs/server_rig.hpp"

namespace ouro::fs {
namespace {

std::unique_ptr<DevTransport> make_transport(loop::AioContext& context, int channel,
                                             std::size_t slots, loop::LogSink log) {
  DevTransport::Options options;
  options.slots = slots;
  options.payload_bytes = 128 * 1024;
  return DevTransport::create(context, channel, options, std::move(log)).value();
}

}  // namespace

ServerRig::ServerRig(loop::AioContext& rig_context, TemporaryTree& rig_tree, TestRelay& relay,
                     const Options& options)
    : context(rig_context),
      backing(rig_tree),
      connection(options.connection),
      ring(context, backing.identity),
      trying(backing.identity),
      metadata(context, ring),
      data(context, ring),
      transport(make_transport(context, options.channel < 0 ? kernel.channel() : options.channel,
                               options.slots, log.sink())),
      server(context, *transport, *backing.tree, executors(options), connection, relay,
             log.sink()) {
  relay.add(server);
  transport->start(server);
}

Executors ServerRig::executors(const Options& options) {
  if (options.blocking == passthrough::Blocking::kRefused) return {trying, data, nullptr};
  return {metadata, data, &ring};
}

ServerRig::~ServerRig() {
  data.let_all_go();
  server.drain();
  until([&] { return server.finished(); });
  kernel.collect();
  for (const Answer& answer : kernel.waiting()) {
    ADD_FAILURE() << "nobody asked for an answer to " << answer.header.unique;
  }
}

Answer ServerRig::wait(std::uint64_t unique) {
  until([&] { return answered(unique); });
  return kernel.take(unique).value();
}

bool ServerRig::answered(std::uint64_t unique) {
  kernel.collect();
  return kernel.answered(unique);
}

std::uint64_t ServerRig::look_up(const std::string& name) {
  return call(requests::lookup(name)).as<fuse_entry_out>().nodeid;
}

std::uint64_t ServerRig::open(const std::string& name, int flags) {
  return call(requests::open(look_up(name), flags)).as<fuse_open_out>().fh;
}

void ServerRig::settle() {
  while (context.poll(loop::Blocking::kNo)) {
  }
}

}  // namespace ouro::fs
