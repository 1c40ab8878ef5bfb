#include "tests/differential/channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ouro::differential {
namespace {

constexpr std::size_t kMaxMessageBytes = 1 << 18;
constexpr std::size_t kMaxFds = 4;

using ControlBuffer = std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))>;

std::vector<loop::UniqueFd> take_fds(msghdr& header) {
  std::vector<loop::UniqueFd> fds;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Channel::Channel(loop::UniqueFd socket) : socket_(std::move(socket)), buffer_(kMaxMessageBytes) {}

loop::Status Channel::send(std::string_view bytes, std::span<const int> fds) {
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* first = CMSG_FIRSTHDR(&header);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(first), fds.data(), fds.size_bytes());
  }
  return loop::to_status(loop::from_libc(::sendmsg(socket_.get(), &header, MSG_NOSIGNAL)));
}

loop::Result<Message> Channel::receive(int timeout_ms) {
  pollfd readable{socket_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&readable, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return loop::fail(errno);
  if (ready == 0) return loop::fail(ETIMEDOUT);
  iovec vector{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  OURO_TRY_ASSIGN(
      const std::int64_t size,
      loop::to_result(loop::from_libc(::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC))));
  if (size == 0) return loop::fail(ECONNRESET);
  if ((header.msg_flags & MSG_TRUNC) != 0) return loop::fail(EMSGSIZE);
  return Message{std::string(buffer_.data(), static_cast<std::size_t>(size)), take_fds(header)};
}

loop::Result<std::pair<loop::UniqueFd, loop::UniqueFd>> make_channel_pair() {
  int ends[2] = {-1, -1};
  OURO_TRY(loop::to_status(
      loop::from_libc(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))));
  return std::pair(loop::UniqueFd(ends[0]), loop::UniqueFd(ends[1]));
}

}  // namespace ouro::differential
