// A TCP echo server on one AioContext: accept, recv and send are SQEs of its own on the loop's
// ring, beside a monitored descriptor (a signalfd, which ends it).
//
// Usage: ouro-echo-server [PORT]   listens on 127.0.0.1; port 0, the default, is any free one.
// Says `listening on 127.0.0.1:PORT` on stdout. SIGTERM or SIGINT end it with exit code 0.
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <optional>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "loop/aio_context.hpp"

namespace {

namespace loop = ouro::loop;

// One connection: receives, sends back all of that, and so on. One request at a time, so that one
// handler serves for both.
class Connection final : public loop::CqeHandler {
 public:
  using Owner = std::list<std::unique_ptr<Connection>>;

  Connection(loop::AioContext& context, loop::UniqueFd socket, Owner& owner)
      : context_(context), socket_(std::move(socket)), owner_(owner) {}

  void start(Owner::iterator self) {
    self_ = self;
    receive();
  }

 private:
  void receive() {
    sending_ = false;
    context_.add_sqe(
        [this](io_uring_sqe& sqe) {
          ::io_uring_prep_recv(&sqe, socket_.get(), buffer_.data(), buffer_.size(), 0);
        },
        *this);
  }

  void send() {
    sending_ = true;
    context_.add_sqe(
        [this](io_uring_sqe& sqe) {
          ::io_uring_prep_send(&sqe, socket_.get(), buffer_.data() + sent_, received_ - sent_,
                               MSG_NOSIGNAL);
        },
        *this);
  }

  void on_cqe(const loop::Cqe& cqe) override {
    if (cqe.res == -EINTR) return sending_ ? send() : receive();
    if (cqe.res <= 0) {
      owner_.erase(self_);  // the end, or an error: this object is gone
      return;
    }
    const auto bytes = static_cast<std::size_t>(cqe.res);
    if (!sending_) {
      received_ = bytes;
      sent_ = 0;
      return send();
    }
    sent_ += bytes;
    sent_ == received_ ? receive() : send();
  }

  loop::AioContext& context_;
  const loop::UniqueFd socket_;
  Owner& owner_;
  Owner::iterator self_;
  std::array<char, 16384> buffer_{};
  std::size_t received_ = 0;
  std::size_t sent_ = 0;
  bool sending_ = false;
};

// Accepts for ever: one multishot request.
class Acceptor final : public loop::CqeHandler {
 public:
  Acceptor(loop::AioContext& context, int listener) : context_(context), listener_(listener) {}

  void start() {
    context_.add_sqe(
        [this](io_uring_sqe& sqe) {
          ::io_uring_prep_multishot_accept(&sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        },
        *this);
  }
  void stop() {
    stopped_ = true;
    context_.cancel(*this);
  }

 private:
  void on_cqe(const loop::Cqe& cqe) override {
    if (cqe.res >= 0) {
      auto connection =
          std::make_unique<Connection>(context_, loop::UniqueFd(cqe.res), connections_);
      const auto place = connections_.insert(connections_.end(), std::move(connection));
      (*place)->start(place);
    }
    const bool ended = (cqe.flags & IORING_CQE_F_MORE) == 0;
    if (ended && !stopped_) start();  // short of descriptors or memory: goes on
  }

  loop::AioContext& context_;
  const int listener_;
  bool stopped_ = false;
  Connection::Owner connections_;
};

int fail(const char* what) {
  std::fprintf(stderr, "ouro-echo-server: %s: %s\n", what, std::strerror(errno));
  return 2;
}

// Listens on `port`, and puts the port that it got there.
loop::UniqueFd listen_on(std::uint16_t& port) {
  loop::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = ::htons(port);
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const bool listens =
      listener && ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      ::bind(listener.get(), generic, size) == 0 && ::listen(listener.get(), SOMAXCONN) == 0 &&
      ::getsockname(listener.get(), generic, &size) == 0;
  if (!listens) return {};
  port = ::ntohs(address.sin_port);
  return listener;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

int serve(std::uint16_t port) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const loop::UniqueFd signal_fd(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  const loop::UniqueFd listener = listen_on(port);
  if (!signal_fd || !listener) return fail("cannot listen");

  // Declared after what its connections need, and destroyed before: it cancels them.
  bool running = true;
  auto context = loop::AioContext::create();
  if (!context) {
    errno = context.error().value();
    return fail("cannot create an event loop");
  }
  if (!(*context)->has_io_uring()) {
    std::fputs("ouro-echo-server: this kernel has no io_uring for us\n", stderr);
    return 2;
  }
  Acceptor acceptor(**context, listener.get());
  (*context)->set_fd_handler(signal_fd.get(), {[&] { running = false; }, {}});
  acceptor.start();
  std::printf("listening on 127.0.0.1:%u\n", port);
  std::fflush(stdout);
  while (running) (*context)->poll(loop::Blocking::kYes);
  acceptor.stop();
  context->reset();  // every request ends, and is told so
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto port = parse_port(argc > 1 ? argv[1] : "0");
  if (argc > 2 || !port) {
    std::fputs("Usage: ouro-echo-server [PORT]\n", stderr);
    return 1;
  }
  return serve(*port);
}
