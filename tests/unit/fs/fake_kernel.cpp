#include "tests/unit/fs/fake_kernel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace ouro::fs {
namespace {

// More than any reply of these tests.
constexpr std::size_t kLongestReply = std::size_t{2} << 20;

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void set_nonblocking(int fd) {
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) < 0) throw_errno("fcntl");
}

// Room for many replies: the real channel never has too little. Root may have more than the limit.
void widen(int fd) {
  constexpr int kBytes = 16 << 20;
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kBytes, sizeof kBytes) < 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kBytes, sizeof kBytes);
  }
}

}  // namespace

std::string Answer::text() const {
  return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

FakeKernel::FakeKernel() : buffer_(kLongestReply) {
  // What is written after hang_up() is to be an error, as it is with the real channel.
  (void)::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) throw_errno("socketpair");
  kernel_.reset(ends[0]);
  server_.reset(ends[1]);
  for (const int end : ends) {
    set_nonblocking(end);
    widen(end);
  }
}

loop::UniqueFd FakeKernel::clone_channel() const {
  loop::UniqueFd clone(::fcntl(server_.get(), F_DUPFD_CLOEXEC, 0));
  if (!clone) throw_errno("dup");
  return clone;
}

std::uint64_t FakeKernel::send(Message message) {
  // Even, as the kernel's are: bit 0 belongs to INTERRUPT.
  if (message.header().unique == 0) message.unique(last_unique_ += 2);
  send_bytes(message.encode());
  return message.header().unique;
}

void FakeKernel::send_bytes(std::span<const std::byte> raw) {
  if (::send(kernel_.get(), raw.data(), raw.size(), 0) != static_cast<ssize_t>(raw.size())) {
    throw_errno("send");
  }
}

void FakeKernel::collect() {
  while (kernel_) {
    const ssize_t got = ::recv(kernel_.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) throw_errno("recv");
    if (got == 0) return;  // the server's end is closed
    const auto bytes = static_cast<std::size_t>(got);
    Answer answer;
    if (bytes < sizeof answer.header) throw std::runtime_error("a reply without a header");
    std::memcpy(&answer.header, buffer_.data(), sizeof answer.header);
    if (answer.header.len != bytes) throw std::runtime_error("a reply with a wrong length");
    if (answer.header.unique == 0) {  // KERNEL: then the error is a code
      answer.payload.assign(buffer_.begin() + sizeof answer.header, buffer_.begin() + got);
      notifications_.push_back(std::move(answer));
      continue;
    }
    // KERNEL: what has another error number is refused.
    if (answer.header.error > 0 || answer.header.error <= -512) {
      throw std::runtime_error("a reply with a wrong error number");
    }
    answer.payload.assign(buffer_.begin() + sizeof answer.header, buffer_.begin() + got);
    if (answer.error() != 0 && !answer.payload.empty()) {
      throw std::runtime_error("an error with a payload");
    }
    order_.push_back(answer.header.unique);
    answers_.push_back(std::move(answer));
  }
}

bool FakeKernel::answered(std::uint64_t unique) const {
  return std::find(order_.begin(), order_.end(), unique) != order_.end();
}

std::optional<Answer> FakeKernel::take(std::uint64_t unique) {
  collect();
  const auto found = std::find_if(answers_.begin(), answers_.end(), [&](const Answer& answer) {
    return answer.header.unique == unique;
  });
  if (found == answers_.end()) return std::nullopt;
  Answer answer = std::move(*found);
  answers_.erase(found);
  return answer;
}

Answer FakeKernel::wait(std::uint64_t unique) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < give_up) {
    if (auto answer = take(unique)) return *std::move(answer);
    pollfd readable{kernel_.get(), POLLIN, 0};
    if (::poll(&readable, 1, 100) < 0 && errno != EINTR) throw_errno("poll");
  }
  throw std::runtime_error("no answer to request " + std::to_string(unique));
}

void FakeKernel::lose_replies() {
  if (::shutdown(kernel_.get(), SHUT_RD) < 0) throw_errno("shutdown");
}

}  // namespace ouro::fs
