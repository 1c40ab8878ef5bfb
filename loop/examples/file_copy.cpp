// Copies a file with many reads and writes in flight on one AioContext, with a progress bar.
//
// Usage: ouro-file-copy [--depth=N] [--block=BYTES] [--quiet] SOURCE TARGET
// Exit code 0, 1 for usage, 2 if the copy failed: then TARGET is incomplete, and the first error is
// told.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loop/aio_context.hpp"

namespace {

namespace loop = ouro::loop;

struct Options {
  std::size_t depth = 16;
  std::size_t block_bytes = std::size_t{256} << 10U;
  bool quiet = false;
  const char* source = nullptr;
  const char* target = nullptr;
};

// What the blocks in flight share.
struct Copy {
  int in = -1;
  int out = -1;
  std::int64_t size_bytes = 0;
  std::int64_t next_offset = 0;  // of the first block that nobody has taken
  std::int64_t done_bytes = 0;
  std::size_t active = 0;
  int error = 0;
};

// One block after another: read, written, and the next one taken. An Op, so that it also works
// where there is no io_uring.
class Block final : public loop::Op {
 public:
  Block(loop::AioContext& context, Copy& copy, std::size_t block_bytes)
      : context_(context), copy_(copy), buffer_(block_bytes) {}

  void take_next() {
    const std::int64_t left = copy_.size_bytes - copy_.next_offset;
    if (left <= 0 || copy_.error != 0) {
      --copy_.active;
      return;
    }
    offset_ = copy_.next_offset;
    wanted_ = static_cast<std::size_t>(
        std::min<std::int64_t>(left, static_cast<std::int64_t>(buffer_.size())));
    copy_.next_offset += static_cast<std::int64_t>(wanted_);
    done_ = 0;
    writing_ = false;
    context_.start(*this);
  }

 private:
  [[nodiscard]] std::uint8_t opcode() const override {
    return writing_ ? IORING_OP_WRITE : IORING_OP_READ;
  }
  void prepare(io_uring_sqe& sqe) override {
    const auto bytes = static_cast<unsigned>(wanted_ - done_);
    const auto at = static_cast<std::uint64_t>(offset_) + done_;
    writing_ ? ::io_uring_prep_write(&sqe, copy_.out, buffer_.data() + done_, bytes, at)
             : ::io_uring_prep_read(&sqe, copy_.in, buffer_.data() + done_, bytes, at);
  }
  [[nodiscard]] loop::KernelResult call() override {
    const auto at = offset_ + static_cast<std::int64_t>(done_);
    return loop::from_libc(writing_
                               ? ::pwrite(copy_.out, buffer_.data() + done_, wanted_ - done_, at)
                               : ::pread(copy_.in, buffer_.data() + done_, wanted_ - done_, at));
  }

  void on_cqe(const loop::Cqe& cqe) override {
    if (cqe.res == -EINTR || cqe.res == -EAGAIN) return context_.start(*this);
    if (cqe.res < 0) return give_up(-cqe.res);
    if (cqe.res == 0) return writing_ ? give_up(EIO) : end_of_file();
    done_ += static_cast<std::size_t>(cqe.res);
    if (done_ < wanted_) return context_.start(*this);  // the rest of a short one
    if (writing_) {
      copy_.done_bytes += static_cast<std::int64_t>(wanted_);
      return take_next();
    }
    start_writing();
  }

  void start_writing() {
    writing_ = true;
    wanted_ = done_;
    done_ = 0;
    context_.start(*this);
  }

  // The source has become shorter.
  void end_of_file() {
    copy_.next_offset = copy_.size_bytes;
    done_ > 0 ? start_writing() : take_next();
  }

  void give_up(int error) {
    if (copy_.error == 0) copy_.error = error;
    --copy_.active;
  }

  loop::AioContext& context_;
  Copy& copy_;
  std::vector<char> buffer_;
  std::int64_t offset_ = 0;
  std::size_t wanted_ = 0;
  std::size_t done_ = 0;
  bool writing_ = false;
};

// Draws itself ten times a second.
class ProgressBar {
 public:
  ProgressBar(loop::AioContext& context, const Copy& copy)
      : copy_(copy), timer_(context, [this] {
          draw();
          timer_.arm_in(kPeriodNs);
        }) {
    timer_.arm_in(kPeriodNs);
  }
  void finish() const {
    draw();
    std::fputc('\n', stderr);
  }

 private:
  static constexpr std::int64_t kPeriodNs = 100'000'000;
  static constexpr std::size_t kWidth = 50;

  void draw() const {
    const double share = copy_.size_bytes == 0 ? 1.0
                                               : static_cast<double>(copy_.done_bytes) /
                                                     static_cast<double>(copy_.size_bytes);
    const auto filled = static_cast<std::size_t>(share * kWidth);
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
    std::fprintf(stderr, "\r[%s] %3.0f %%", bar.c_str(), share * 100);
  }

  const Copy& copy_;
  loop::Timer timer_;
};

int fail(const char* what, int error) {
  std::fprintf(stderr, "ouro-file-copy: cannot copy '%s': %s\n", what, std::strerror(error));
  return 2;
}

int copy_file(const Options& options) {
  const loop::UniqueFd in(::open(options.source, O_RDONLY | O_CLOEXEC));
  struct stat stat {};
  if (!in || ::fstat(in.get(), &stat) != 0) return fail(options.source, errno);
  if (!S_ISREG(stat.st_mode)) return fail(options.source, EINVAL);
  const loop::UniqueFd out(
      ::open(options.target, O_WRONLY | O_CREAT | O_CLOEXEC, stat.st_mode & 0777U));
  struct stat target {};
  if (!out || ::fstat(out.get(), &target) != 0) return fail(options.target, errno);
  const bool same = target.st_dev == stat.st_dev && target.st_ino == stat.st_ino;
  if (same) return fail(options.target, EEXIST);  // truncating it would lose everything
  if (::ftruncate(out.get(), 0) != 0) return fail(options.target, errno);
  const auto context = loop::AioContext::create();
  if (!context) return fail(options.source, context.error().value());

  Copy copy{in.get(), out.get(), stat.st_size, 0, 0, options.depth, 0};
  std::vector<std::unique_ptr<Block>> blocks;
  std::optional<ProgressBar> bar;
  if (!options.quiet) bar.emplace(**context, copy);
  {
    const loop::SubmitScope scope(**context);
    for (std::size_t i = 0; i < options.depth; ++i) {
      blocks.push_back(std::make_unique<Block>(**context, copy, options.block_bytes));
      blocks.back()->take_next();
    }
  }
  while (copy.active > 0) (*context)->poll(loop::Blocking::kYes);
  if (bar) bar->finish();
  return copy.error == 0 ? 0 : fail(options.source, copy.error);
}

// The number behind `name=`, if `argument` is that option; false if it is a bad one.
bool take_number(std::string_view argument, std::string_view name, std::size_t& value) {
  if (!argument.starts_with(name)) return false;
  argument.remove_prefix(name.size());
  const auto [end, error] =
      std::from_chars(argument.data(), argument.data() + argument.size(), value);
  constexpr std::size_t kMost = std::size_t{1} << 30U;
  return error == std::errc() && end == argument.data() + argument.size() && value > 0 &&
         value <= kMost;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quiet") {
      options.quiet = true;
    } else if (argument.starts_with("--")) {
      if (!take_number(argument, "--depth=", options.depth) &&
          !take_number(argument, "--block=", options.block_bytes)) {
        return false;
      }
    } else if (options.source == nullptr) {
      options.source = argv[i];
    } else if (options.target == nullptr) {
      options.target = argv[i];
    } else {
      return false;
    }
  }
  return options.target != nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs("Usage: ouro-file-copy [--depth=N] [--block=BYTES] [--quiet] SOURCE TARGET\n",
               stderr);
    return 1;
  }
  return copy_file(options);
}
