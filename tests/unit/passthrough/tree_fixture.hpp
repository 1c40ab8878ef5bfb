// A Tree on a temporary directory, served by each metadata executor in turn, and what is needed to
// say in one line what a test expects of it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "loop/aio_context.hpp"
#include "passthrough/inline_executor.hpp"
#include "passthrough/ring_executor.hpp"
#include "passthrough/tree.hpp"
#include "tests/support/loop_test.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/watchdog.hpp"
#include "tests/unit/passthrough/executor_doubles.hpp"
#include "tests/unit/passthrough/process_state.hpp"

namespace ouro::passthrough {

// The error of a Result, or 0.
template <typename T>
int error_of(const loop::Result<T>& result) {
  return result ? 0 : result.error().value();
}

inline loop::UniqueFd open_path_fd(const std::filesystem::path& path) {
  return loop::UniqueFd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

inline std::unique_ptr<Tree> make_tree(const std::filesystem::path& root,
                                       const Tree::Options& options = {}) {
  return Tree::create(open_path_fd(root), options).value();
}

inline struct ::stat stat_of(const std::filesystem::path& path) {
  struct ::stat stat {};
  EXPECT_EQ(::lstat(path.c_str(), &stat), 0) << path;
  return stat;
}

inline mode_t mode_of(const std::filesystem::path& path) {
  return stat_of(path).st_mode & 07777U;
}

inline void write_file(const std::filesystem::path& path, const std::string& content,
                       mode_t mode = 0644) {
  const loop::UniqueFd fd(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(fd.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  ASSERT_EQ(::fchmod(fd.get(), mode), 0);
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::span<std::byte> bytes_of(std::string& text) {
  return {reinterpret_cast<std::byte*>(text.data()), text.size()};
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline Creation creation(mode_t mode, uid_t uid = 0, gid_t gid = 0, mode_t umask = 0) {
  return {mode, umask, {.uid = uid, .gid = gid, .extra_group = {}}};
}

enum class Metadata : std::uint8_t { kInline, kRing };

inline std::string metadata_name(const ::testing::TestParamInfo<Metadata>& info) {
  return info.param == Metadata::kInline ? "Inline" : "Ring";
}

// The executor of a test parameter.
class TestExecutor {
 public:
  explicit TestExecutor(Metadata kind, const ProcessIdentity& identity = test_identity()) {
    if (kind == Metadata::kInline) {
      executor_ = std::make_unique<InlineExecutor>(identity);
    } else {
      context_ = loop::AioContext::create().value();
      executor_ = std::make_unique<RingExecutor>(*context_, identity);
    }
  }
  [[nodiscard]] Executor& operator*() { return *executor_; }
  // CQEs of `opcode` so far; empty for the inline executor.
  [[nodiscard]] std::optional<std::uint64_t> cqes(unsigned opcode) const {
    if (!context_) return {};
    return context_->counters().cqes_by_opcode[opcode];
  }

 private:
  std::unique_ptr<loop::AioContext> context_;
  std::unique_ptr<Executor> executor_;
};

class TreeTest : public ::testing::TestWithParam<Metadata> {
 protected:
  TreeTest() { ::umask(0); }

  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return dir_ / name; }
  [[nodiscard]] Executor& executor() { return *executor_; }
  [[nodiscard]] Tree& tree() { return *tree_; }
  void use_options(const Tree::Options& options) { tree_ = make_tree(dir_.path(), options); }

  NodeId look(const std::string& name, NodeId parent = kRootNode) {
    const auto entry = tree().lookup(executor(), parent, name.c_str());
    EXPECT_EQ(error_of(entry), 0) << name;
    return entry ? entry->node : 0;
  }
  // An open handle of the named file; 0 if there is none.
  FileHandleId open(const std::string& name, int flags) {
    const auto handle = tree().open(executor(), look(name), flags, std::nullopt);
    EXPECT_EQ(error_of(handle), 0) << name;
    return handle.value_or(0);
  }
  int buffered_fd(FileHandleId handle) { return tree().file(handle).value()->buffered_fd(); }
  int buffered_flags(FileHandleId handle) { return ::fcntl(buffered_fd(handle), F_GETFL); }
  bool knows(NodeId node) {
    return error_of(tree().attributes(executor(), node, 0, STATX_BASIC_STATS)) == 0;
  }

  const testing::Watchdog watchdog_{testing::current_test_name(), std::chrono::seconds(60)};
  const testing::TempDir dir_;
  TestExecutor executor_{GetParam()};
  std::unique_ptr<Tree> tree_ = make_tree(dir_.path());
};

#define OURO_BOTH_EXECUTORS(Suite)                                                         \
  INSTANTIATE_TEST_SUITE_P(, Suite, ::testing::Values(Metadata::kInline, Metadata::kRing), \
                           metadata_name)

}  // namespace ouro::passthrough
