// File handles of the mount (name_to_handle_at(2), which NFS servers use): a mount of a whole file
// system gives such as lead to the file as long as there is one, whatever was forgotten, moved or
// mounted anew meanwhile.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <variant>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/file_tools.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

namespace stdfs = std::filesystem;
using loop::UniqueFd;

struct Handle {
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> bytes{};

  file_handle& get() { return *reinterpret_cast<file_handle*>(bytes.data()); }
};

void write_file(const stdfs::path& path, const std::string& content) {
  std::ofstream(path) << content;
}

// The errno, 0 for success.
int take(const stdfs::path& path, Handle& handle) {
  handle.get().handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  return ::name_to_handle_at(AT_FDCWD, path.c_str(), &handle.get(), &mount, 0) == 0 ? 0 : errno;
}

UniqueFd open_handle(const stdfs::path& mountpoint, Handle& handle, int flags) {
  const UniqueFd mount(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return UniqueFd(::open_by_handle_at(mount.get(), &handle.get(), flags | O_CLOEXEC));
}

std::string content_by(const stdfs::path& mountpoint, Handle& handle) {
  const UniqueFd fd = open_handle(mountpoint, handle, O_RDONLY);
  if (!fd) return "errno " + std::to_string(errno);
  const auto read = read_at(fd.get(), 100, 0);
  return {read.begin(), read.end()};
}

struct Case {
  const char* file_system;
  Mode mode;
};

class NfsExport : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    OURO_REQUIRE(has_root());
    OURO_REQUIRE(can_serve(GetParam().mode));
    auto made = LoopImage::create(GetParam().file_system);
    if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) {
      GTEST_SKIP() << missing->reason;
    }
    image_ = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  }
  [[nodiscard]] std::unique_ptr<Mounted> mount(const stdfs::path& source) const {
    const Mode& mode = GetParam().mode;
    return std::make_unique<Mounted>(MountPlan{.options = mode.options(), .source = source});
  }

  std::unique_ptr<LoopImage> image_;
};

TEST_P(NfsExport, HandlesOutliveTheMount) {
  const stdfs::path source = image_->path();
  auto mounted = mount(source);
  ASSERT_EQ(mounted->served("nfs_export"), "on");
  stdfs::create_directories(mounted->path() / "a/b");
  write_file(mounted->path() / "a/b/file", "content");
  Handle file;
  Handle directory;
  Handle removed;
  ASSERT_EQ(take(mounted->path() / "a/b/file", file), 0);
  ASSERT_EQ(take(mounted->path() / "a/b", directory), 0);
  EXPECT_EQ(content_by(mounted->path(), file), "content") << "while it is known";
  write_file(mounted->path() / "removed", "");
  ASSERT_EQ(take(mounted->path() / "removed", removed), 0);
  for (const auto& complaint :
       disprove(GetParam().mode, *mounted, mounted->statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
  mounted.reset();

  stdfs::rename(source / "a", source / "moved");
  stdfs::rename(source / "moved/b/file", source / "moved/file");
  stdfs::remove(source / "removed");
  mounted = mount(source);
  EXPECT_EQ(content_by(mounted->path(), file), "content");
  const UniqueFd opened = open_handle(mounted->path(), directory, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(opened) << errno;
  EXPECT_EQ(stdfs::read_symlink("/proc/self/fd/" + std::to_string(opened.get())),
            mounted->path() / "moved/b")
      << "its parents were asked for";
  EXPECT_FALSE(open_handle(mounted->path(), removed, O_RDONLY));
  EXPECT_EQ(errno, ESTALE);
  Handle again;
  ASSERT_EQ(take(mounted->path() / "moved/file", again), 0);
  EXPECT_EQ(again.bytes, file.bytes) << "one file, one handle";
}

// A handle could name what is not below SOURCE.
TEST_P(NfsExport, NotOfAPartOfAFileSystem) {
  stdfs::create_directory(image_->path() / "part");
  write_file(image_->path() / "part/file", "content");
  const auto mounted = mount(image_->path() / "part");
  EXPECT_EQ(mounted->served("nfs_export"), "off");
  Handle handle;
  EXPECT_EQ(take(mounted->path() / "file", handle), EOPNOTSUPP);
}

// Of a mount of a part of it, as `mount --bind` makes them, neither.
TEST_P(NfsExport, NotOfABindMount) {
  stdfs::create_directories(image_->path() / "part");
  stdfs::create_directories(image_->path() / "bound");
  ASSERT_EQ(::mount((image_->path() / "part").c_str(), (image_->path() / "bound").c_str(), nullptr,
                    MS_BIND, nullptr),
            0);
  EXPECT_EQ(mount(image_->path() / "bound")->served("nfs_export"), "off");
  EXPECT_EQ(::umount2((image_->path() / "bound").c_str(), MNT_DETACH), 0);
}

constexpr Mode kRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
constexpr Mode kNested{Who::kRoot, Backing::kRing, Metadata::kNested, 1};
constexpr Mode kAuto{Who::kRoot, Backing::kInline, Metadata::kAuto, 2};
constexpr Mode kKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};

// What is on tmpfs is there for the length of one mount of it.
INSTANTIATE_TEST_SUITE_P(, NfsExport,
                         ::testing::Values(Case{"ext4", kRing}, Case{"xfs", kRing},
                                           Case{"tmpfs", kRing}, Case{"ext4", kNested},
                                           Case{"ext4", kAuto}, Case{"ext4", kKernel}),
                         [](const auto& instance) {
                           return std::string(instance.param.file_system) + "_" +
                                  instance.param.mode.name();
                         });

}  // namespace
}  // namespace ouro::testing
