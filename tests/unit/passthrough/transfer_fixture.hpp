// What tests of TransferOp share: an op on a file in a temporary directory, whose attempts end as
// the test says (ScriptedAsyncExecutor).
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "passthrough/transfer_op.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {

struct Results final : TransferOp::Listener {
  void transfer_done(loop::KernelResult result) override { all.push_back(result); }
  // The only result so far.
  [[nodiscard]] loop::KernelResult one() const {
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? -12345 : all.back();
  }
  std::vector<loop::KernelResult> all;
};

class TransferOpTest : public ::testing::Test {
 protected:
  TransferOpTest() : file_(open_file(O_RDWR | O_CREAT)) {}

  [[nodiscard]] std::shared_ptr<FileHandle> open_file(int flags) const {
    loop::UniqueFd fd(::open((dir_ / "file").c_str(), flags | O_CLOEXEC, 0600));
    EXPECT_TRUE(fd);
    return wrap(std::move(fd));
  }
  [[nodiscard]] static std::shared_ptr<FileHandle> wrap(loop::UniqueFd fd) {
    auto inode = std::make_shared<const Inode>(Inode{.key = {}, .type = S_IFREG, .path_fd = {}});
    return std::make_shared<FileHandle>(std::move(inode), std::move(fd), loop::UniqueFd());
  }
  void fill(const std::string& content) { write_file(dir_ / "file", content); }
  [[nodiscard]] std::string content() const { return content_of(dir_ / "file"); }

  void read(std::int64_t offset, TransferOp::Access access = TransferOp::Access::kBuffered) {
    op_.start_read(executor_, file_, access, bytes_of(buffer_), offset);
  }
  void write(const std::string& data, std::int64_t offset, std::uint32_t rw_flags = 0,
             TransferOp::Access access = TransferOp::Access::kBuffered) {
    data_ = data;
    op_.start_write(executor_, file_, access, bytes_of(data_), offset, rw_flags, nullptr);
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  const std::unique_ptr<loop::AioContext> context_ = loop::AioContext::create().value();
  ScriptedAsyncExecutor executor_{*context_};
  std::shared_ptr<FileHandle> file_;
  std::string buffer_ = std::string(10, '.');
  std::string data_;
  Results results_;
  TransferOp op_{results_};
};

}  // namespace ouro::passthrough
