// What concerns the whole tree: how it begins, which executor does what, and that no error path
// keeps a descriptor or a lookup.
#include "passthrough/tree.hpp"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <thread>

#include "loop/uring_abi.hpp"
#include "tests/unit/passthrough/tree_fixture.hpp"

namespace ouro::passthrough {
namespace {

// --- create ---

TEST(TreeCreate, NeedsADirectory) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  EXPECT_EQ(error_of(Tree::create(open_path_fd(dir / "file"), {})), ENOTDIR);
  EXPECT_EQ(error_of(Tree::create(loop::UniqueFd(), {})), EBADF);
  EXPECT_EQ(error_of(Tree::create(open_path_fd(dir.path()), {})), 0);
}

TEST(TreeCreate, NeedsTheRealProc) {
  OURO_NEEDS_ROOT();
  const testing::TempDir dir;
  OURO_WITH_OWN_MOUNTS([&] {
    const std::size_t before = open_descriptors();
    ASSERT_EQ(::mount("fake", "/proc", "tmpfs", 0, nullptr), 0);
    EXPECT_EQ(error_of(Tree::create(open_path_fd(dir.path()), {})), ENOTSUP) << "there is none";
    // It looks like one, and leads to the right place.
    std::filesystem::create_directories("/proc/self/fd");
    for (int fd = 0; fd < 200; ++fd) {
      std::filesystem::create_symlink(dir.path(), "/proc/self/fd/" + std::to_string(fd));
    }
    EXPECT_EQ(error_of(Tree::create(open_path_fd(dir.path()), {})), ENOTSUP);
    ASSERT_EQ(::umount2("/proc", MNT_DETACH), 0);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(error_of(Tree::create(open_path_fd(dir.path()), {})), 0);
  });
}

// A process whose every descriptor is the root directory; it ends with the object.
class OtherProcess {
 public:
  static constexpr int kDescriptors = 200;

  OtherProcess() : pid_(::fork()) {
    if (pid_ != 0) return;
    const int root = ::open("/", O_RDONLY);
    for (int fd = 0; fd < kDescriptors; ++fd) ::dup2(root, fd);
    for (;;) ::pause();
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  ~OtherProcess() {
    ::kill(pid_, SIGKILL);
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  }
  [[nodiscard]] std::string descriptors() const { return "/proc/" + std::to_string(pid_) + "/fd"; }
  void wait_until_ready() const {
    const std::string last = descriptors() + "/" + std::to_string(kDescriptors - 1);
    while (!std::filesystem::is_symlink(last)) std::this_thread::yield();
  }

 private:
  const pid_t pid_;
};

TEST(TreeCreate, ATrueProcThatShowsOtherDescriptorsIsRefused) {
  OURO_NEEDS_ROOT();
  const testing::TempDir dir;
  const OtherProcess other;
  other.wait_until_ready();
  OURO_WITH_OWN_MOUNTS([&] {
    const std::string ours = "/proc/" + std::to_string(::getpid()) + "/fd";
    ASSERT_EQ(::mount(other.descriptors().c_str(), ours.c_str(), nullptr, MS_BIND, nullptr), 0);
    EXPECT_EQ(error_of(Tree::create(open_path_fd(dir.path()), {})), ENOTSUP);
  });
}

// --- error paths ---

// One operation of the tree; returns its errno.
using Operation = std::function<int(Tree&, Executor&)>;
struct NamedOperation {
  const char* name;
  Operation run;
};

int undo(Tree& tree, const Result<CreatedFile>& made) {
  if (!made) return made.error().value();
  tree.release(made->handle);
  tree.forget(made->entry.node, 1);
  return 0;
}
int undo(Tree& tree, const Result<Entry>& made) {
  if (!made) return made.error().value();
  tree.forget(made->node, 1);
  return 0;
}

const NamedOperation kOperations[] = {
    {"lookup", [](Tree& t, Executor& e) { return undo(t, t.lookup(e, kRootNode, "file")); }},
    {"mkdir",
     [](Tree& t, Executor& e) { return undo(t, t.mkdir(e, kRootNode, "new", creation(0755))); }},
    {"mknod",
     [](Tree& t, Executor& e) { return undo(t, t.mknod(e, kRootNode, "new", creation(0644), 0)); }},
    {"symlink",
     [](Tree& t, Executor& e) {
       return undo(t, t.symlink(e, kRootNode, "new", "target", creation(0)));
     }},
    {"link",
     [](Tree& t, Executor& e) {
       InlineExecutor calls(test_identity());
       const NodeId node = t.lookup(calls, kRootNode, "file").value().node;
       const int error = undo(t, t.link(e, node, kRootNode, "new"));
       t.forget(node, 1);
       return error;
     }},
    {"create",
     [](Tree& t, Executor& e) {
       return undo(t,
                   t.create(e, kRootNode, "new", O_RDWR | O_DIRECT, creation(0644), std::nullopt));
     }},
    {"create_of_an_existing_file",
     [](Tree& t, Executor& e) {
       return undo(t,
                   t.create(e, kRootNode, "file", O_RDWR | O_DIRECT, creation(0644), std::nullopt));
     }},
    {"tmpfile",
     [](Tree& t, Executor& e) {
       return undo(t, t.tmpfile(e, kRootNode, O_RDWR | O_DIRECT, creation(0644)));
     }},
    {"open",
     [](Tree& t, Executor& e) {
       InlineExecutor calls(test_identity());
       const NodeId node = t.lookup(calls, kRootNode, "file").value().node;
       const auto handle = t.open(e, node, O_RDWR | O_DIRECT, std::nullopt);
       if (handle) t.release(*handle);
       t.forget(node, 1);
       return error_of(handle);
     }},
    {"opendir",
     [](Tree& t, Executor& e) {
       const auto handle = t.opendir(e, kRootNode);
       if (handle) t.releasedir(*handle);
       return error_of(handle);
     }},
    {"truncation",
     [](Tree& t, Executor& e) {
       InlineExecutor calls(test_identity());
       const NodeId node = t.lookup(calls, kRootNode, "file").value().node;
       const int error = error_of(t.change_attributes(e, node, {}, {.size = 1}));
       t.forget(node, 1);
       return error;
     }},
};

class TreeErrorPaths : public ::testing::TestWithParam<NamedOperation> {};

std::string operation_name(const ::testing::TestParamInfo<NamedOperation>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(, TreeErrorPaths, ::testing::ValuesIn(kOperations), operation_name);

// Every kernel operation of it fails in turn: the error comes out, and nothing stays behind.
TEST_P(TreeErrorPaths, GiveBackDescriptorsAndLookups) {
  const testing::TempDir dir;
  write_file(dir / "file", "12345");
  const auto tree = make_tree(dir.path());
  const std::size_t descriptors = open_descriptors();
  unsigned failures = 0;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    ScriptedExecutor executor;
    executor.fail_at(n, EIO);
    const int error = GetParam().run(*tree, executor);
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(tree->inode_count(), 1U);
    EXPECT_EQ(tree->open_count(), 0U);
    std::filesystem::remove(dir / "new");
    if (error == 0) {
      EXPECT_EQ(executor.waits(), n - 1) << "all of its steps were made to fail once";
      break;
    }
    EXPECT_EQ(error, EIO);
    ++failures;
    ASSERT_LT(n, 20U);
  }
  EXPECT_GT(failures, 0U);
}

TEST(TreeErrors, OfAnOperationArePassedOn) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  const auto tree = make_tree(dir.path());
  for (const int error : {EACCES, EMFILE, ENOSPC, ENOMEM, EROFS, EDQUOT}) {
    ScriptedExecutor executor;
    executor.script(IORING_OP_OPENAT2, -error);
    EXPECT_EQ(error_of(tree->lookup(executor, kRootNode, "file")), error);
    EXPECT_EQ(error_of(tree->opendir(executor, kRootNode)), error);
    EXPECT_EQ(
        error_of(tree->create(executor, kRootNode, "new", O_RDWR, creation(0600), std::nullopt)),
        error);
    executor.script(IORING_OP_STATX, -error);
    EXPECT_EQ(error_of(tree->attributes(executor, kRootNode, 0, STATX_BASIC_STATS)), error);
  }
}

TEST(TreeErrors, NoRoomForDescriptors) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  const auto tree = make_tree(dir.path());
  InlineExecutor executor(test_identity());
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{3, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const int looked_up = error_of(tree->lookup(executor, kRootNode, "file"));
  const int opened = error_of(tree->opendir(executor, kRootNode));
  const int created =
      error_of(tree->create(executor, kRootNode, "new", O_RDWR, creation(0600), std::nullopt));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(looked_up, EMFILE);
  EXPECT_EQ(opened, EMFILE);
  EXPECT_EQ(created, EMFILE);
  EXPECT_EQ(error_of(tree->lookup(executor, kRootNode, "file")), 0) << "it recovers";
}

// --- which operations go where ---

TEST(TreeExecutors, MetadataOperationsReachTheRing) {
  const testing::TempDir dir;
  write_file(dir / "file", "");
  const auto tree = make_tree(dir.path());
  TestExecutor ring(Metadata::kRing);
  Executor& executor = *ring;
  const auto uses = [&](unsigned opcode, const std::function<bool()>& operation) {
    const auto before = ring.cqes(opcode);
    EXPECT_TRUE(operation()) << opcode;
    EXPECT_GT(ring.cqes(opcode).value(), before.value()) << opcode;
  };
  const NodeId node = tree->lookup(executor, kRootNode, "file").value().node;
  const Creation how = creation(0755);
  uses(IORING_OP_OPENAT2, [&] { return tree->lookup(executor, kRootNode, "file").has_value(); });
  uses(IORING_OP_STATX,
       [&] { return tree->attributes(executor, node, 0, STATX_BASIC_STATS).has_value(); });
  uses(IORING_OP_MKDIRAT, [&] { return tree->mkdir(executor, kRootNode, "d", how).has_value(); });
  uses(IORING_OP_UNLINKAT, [&] { return tree->rmdir(executor, kRootNode, "d").has_value(); });
  uses(IORING_OP_SYMLINKAT,
       [&] { return tree->symlink(executor, kRootNode, "s", "t", how).has_value(); });
  uses(IORING_OP_LINKAT, [&] { return tree->link(executor, node, kRootNode, "l").has_value(); });
  uses(IORING_OP_RENAMEAT,
       [&] { return tree->rename(executor, kRootNode, "l", kRootNode, "m", 0).has_value(); });
  uses(IORING_OP_OPENAT2,
       [&] { return tree->open(executor, node, O_RDWR, std::nullopt).has_value(); });
  uses(IORING_OP_SETXATTR,
       [&] { return tree->setxattr(executor, node, "user.x", {}, 0, SetIdKiller()).has_value(); });
  uses(IORING_OP_GETXATTR,
       [&] { return tree->getxattr(executor, node, "user.x", {}).has_value(); });
  uses(loop::abi::kOpFtruncate,
       [&] { return tree->change_attributes(executor, node, {}, {.size = 5}).has_value(); });
  EXPECT_EQ(executor.inline_calls(), 0U);
}

// --- many threads ---

TEST(TreeThreads, EachBringsItsExecutor) {
  const testing::Watchdog watchdog(testing::current_test_name(), std::chrono::seconds(60));
  const testing::TempDir dir;
  for (int i = 0; i < 8; ++i) write_file(dir / std::to_string(i), std::to_string(i));
  const auto tree = make_tree(dir.path());
  (void)test_identity();  // taken before there are threads
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&tree, &wrong, t] {
      TestExecutor own(t % 2 == 0 ? Metadata::kInline : Metadata::kRing);
      Executor& executor = *own;
      for (unsigned i = 0; i < 300; ++i) {
        const std::string name = std::to_string((i + t) % 8);
        const auto entry = tree->lookup(executor, kRootNode, name.c_str());
        if (!entry) {
          ++wrong;
          continue;
        }
        const auto handle = tree->open(executor, entry->node, O_RDWR, std::nullopt);
        const auto directory = tree->opendir(executor, kRootNode);
        const std::string mine = "mine-" + std::to_string(t);
        const auto made = tree->mkdir(executor, kRootNode, mine.c_str(), creation(0755));
        if (!handle || !directory || !made) ++wrong;
        if (!tree->rmdir(executor, kRootNode, mine.c_str())) ++wrong;
        char byte = 0;
        const int fd = tree->file(*handle).value()->buffered_fd();
        if (::pread(fd, &byte, 1, 0) != 1 || byte != name[0]) ++wrong;
        tree->release(*handle);
        tree->releasedir(*directory);
        tree->forget(made->node, 1);
        tree->forget(entry->node, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(tree->inode_count(), 1U);
  EXPECT_EQ(tree->open_count(), 0U);
}

// --- a plain user's daemon ---

class PlainUserTree : public ::testing::TestWithParam<Metadata> {};
OURO_BOTH_EXECUTORS(PlainUserTree);

TEST_P(PlainUserTree, OpensWhatThatUserMay) {
  OURO_NEEDS_ROOT();
  const testing::TempDir dir;
  ASSERT_EQ(::chown(dir.path().c_str(), AsPlainUser::kUid, AsPlainUser::kUid), 0);
  write_file(dir / "write-only", "12345", 0222);
  write_file(dir / "closed", "12345", 0600);
  const AsPlainUser plain;
  const ProcessIdentity identity = ProcessIdentity::take().value();
  TestExecutor own(GetParam(), identity);
  Executor& executor = *own;
  const auto tree = make_tree(dir.path(), {.write_back = WriteBack::kOn});
  const auto open = [&](const char* name, int flags) {
    const NodeId node = tree->lookup(executor, kRootNode, name).value().node;
    return tree->open(executor, node, flags, SetIdKiller(Caller{}));
  };
  // What cannot be read is opened as it was asked for; what cannot be opened stays closed.
  const auto write_only = open("write-only", O_WRONLY | O_TRUNC);
  ASSERT_TRUE(write_only);
  EXPECT_EQ(::fcntl(tree->file(*write_only).value()->buffered_fd(), F_GETFL) & O_ACCMODE, O_WRONLY);
  EXPECT_EQ(error_of(open("write-only", O_RDONLY)), EACCES);
  EXPECT_EQ(error_of(open("closed", O_WRONLY)), EACCES);
  // A new file that nobody may open again, with O_DIRECT: the page cache serves.
  const auto made = tree->create(executor, kRootNode, "new", O_RDWR | O_DIRECT,
                                 creation(0, 1001, 1002), std::nullopt);
  ASSERT_TRUE(made);
  EXPECT_EQ(error_of(tree->file(made->handle).value()->direct_fd()), EACCES);
  EXPECT_EQ(made->entry.stat.stx_uid, AsPlainUser::kUid) << "it has no other identity to give";
}

}  // namespace
}  // namespace ouro::passthrough
