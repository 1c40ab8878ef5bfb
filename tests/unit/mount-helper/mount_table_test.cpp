#include "mount-helper/mount_table.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "own_namespace.hpp"

namespace ouro::mount_helper {
namespace {

constexpr const char* kTable =
    "21 29 0:19 / /proc rw,nosuid shared:12 - proc proc rw\n"
    "57 29 0:47 / /mnt/with\\040space\\134 rw,nosuid,nodev master:3 propagate_from:2 - fuse.ourofs "
    "/src\\011tab rw,user_id=0\n"
    "not a line at all\n"
    "58 57 0:48 / /mnt/x rw - tmpfs tmpfs rw\n";

TEST(MountTable, FindsAMountByNumberAndDevice) {
  const auto entry = find_mount(kTable, {0, 57, ::makedev(0, 47)});
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->path, "/mnt/with space\\");
  EXPECT_EQ(entry->type, "fuse.ourofs");
  EXPECT_EQ(entry->source, "/src\ttab");
  EXPECT_EQ(find_mount(kTable, {0, 58, ::makedev(0, 48)})->type, "tmpfs");
}

TEST(MountTable, ANumberThatIsUsedAgainIsAnotherMount) {
  EXPECT_FALSE(find_mount(kTable, {0, 57, ::makedev(0, 48)}).has_value());
  EXPECT_FALSE(find_mount(kTable, {0, 5, ::makedev(0, 47)}).has_value());
  EXPECT_FALSE(find_mount("", {0, 57, ::makedev(0, 47)}).has_value());
}

TEST(MountTable, KnowsTheRootMount) {
  const auto id = mount_at("/");
  ASSERT_TRUE(id.has_value());
  struct stat root {};
  ASSERT_EQ(::stat("/", &root), 0);
  EXPECT_EQ(id->device, root.st_dev);
  EXPECT_NE(id->number, 0U);
}

TEST(MountTable, MissingPathIsAnError) {
  const auto id = mount_at("/no/such/place");
  ASSERT_FALSE(id.has_value());
  EXPECT_EQ(id.error().value(), ENOENT);
}

class LiveMountTable : public OwnNamespace {};

TEST_F(LiveMountTable, SeesTheTopmostMount) {
  const std::string path = make_directory("a b");
  const auto below = mount_at(path);
  ASSERT_EQ(::mount("first", path.c_str(), "tmpfs", 0, nullptr), 0);
  const auto first = mount_at(path);
  ASSERT_EQ(::mount("second", path.c_str(), "tmpfs", 0, nullptr), 0);
  const auto second = mount_at(path);
  ASSERT_TRUE(below && first && second);
  EXPECT_NE(*first, *below);
  EXPECT_NE(*second, *first);
  EXPECT_EQ(find_mount(*first)->source, "first");
  EXPECT_EQ(find_mount(*second)->source, "second");
  EXPECT_EQ(find_mount(*second)->path, path);
}

}  // namespace
}  // namespace ouro::mount_helper
