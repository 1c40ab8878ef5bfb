#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/fs/served_tree.hpp"

namespace ouro::fs {
namespace {

namespace stdfs = std::filesystem;

// fuse_dirent without its flexible name.
struct DirentHeader {
  std::uint64_t ino = 0;
  std::uint64_t off = 0;
  std::uint32_t namelen = 0;
  std::uint32_t type = 0;
};
static_assert(sizeof(DirentHeader) == FUSE_NAME_OFFSET);

struct Listed {
  std::string name;
  DirentHeader dirent;
  fuse_entry_out entry{};
};

// Takes a reply apart, and checks its form on the way.
std::vector<Listed> parse(const Answer& answer, bool plus) {
  std::vector<Listed> entries;
  std::size_t at = 0;
  while (at < answer.payload.size()) {
    Listed listed;
    if (plus) {
      listed.entry = answer.at<fuse_entry_out>(at);
      at += sizeof(fuse_entry_out);
    }
    listed.dirent = answer.at<DirentHeader>(at);
    at += FUSE_NAME_OFFSET;
    const std::size_t padded = FUSE_DIRENT_ALIGN(listed.dirent.namelen);
    if (at + padded > answer.payload.size()) throw std::runtime_error("an entry is cut off");
    const auto* text = reinterpret_cast<const char*>(answer.payload.data() + at);
    listed.name.assign(text, listed.dirent.namelen);
    EXPECT_EQ(std::count(text + listed.dirent.namelen, text + padded, 0),
              static_cast<std::ptrdiff_t>(padded - listed.dirent.namelen))
        << "the padding is zero";
    at += padded;
    entries.push_back(listed);
  }
  return entries;
}

std::set<std::string> names_of(const std::vector<Listed>& entries) {
  std::set<std::string> names;
  for (const Listed& listed : entries) names.insert(listed.name);
  EXPECT_EQ(names.size(), entries.size()) << "a name is listed twice";
  return names;
}

class DirectoriesTest : public ServedTree {
 protected:
  [[nodiscard]] std::vector<Listed> read_some(std::uint64_t handle, std::uint64_t offset,
                                              std::uint32_t bytes = 4096) {
    return parse(call(requests::readdir(handle, offset, bytes)), false);
  }
  [[nodiscard]] std::vector<Listed> read_plus(std::uint64_t handle, std::uint64_t offset,
                                              std::uint32_t bytes = 4096,
                                              std::uint64_t node = requests::kRoot) {
    fuse_read_in in{};
    in.fh = handle;
    in.offset = offset;
    in.size = bytes;
    return parse(call(Message(FUSE_READDIRPLUS, node).with(in)), true);
  }
  // The whole stream, in pieces.
  template <typename ReadSome>
  [[nodiscard]] std::vector<Listed> read_all(ReadSome&& read_piece) {
    std::vector<Listed> all;
    for (;;) {
      const auto piece = read_piece(all.empty() ? 0 : all.back().dirent.off);
      if (piece.empty()) return all;
      all.insert(all.end(), piece.begin(), piece.end());
    }
  }
  void fill(int files) {
    for (int i = 0; i < files; ++i) {
      const std::string name = "file" + std::to_string(i);
      backing_.put_file(name);
      names_.insert(name);
    }
  }
  [[nodiscard]] std::size_t known() const { return tree_.inode_count() - 1; }

  std::set<std::string> names_{".", ".."};
};

TEST_P(DirectoriesTest, OpenAndRelease) {
  backing_.put_file("file");
  const Answer answer = call(requests::opendir());
  const auto out = answer.as<fuse_open_out>();
  EXPECT_EQ(out.open_flags, 0U);
  EXPECT_EQ(tree_.open_count(), 1U);
  EXPECT_EQ(error_of(requests::release(out.fh, FUSE_RELEASEDIR)), 0);
  EXPECT_EQ(tree_.open_count(), 0U);
  EXPECT_EQ(error_of(requests::release(out.fh, FUSE_RELEASEDIR)), 0);
  EXPECT_EQ(error_of(requests::opendir(look_up("file"))), ENOTDIR);
  EXPECT_EQ(error_of(requests::opendir(999)), ESTALE);
}

TEST_P(DirectoriesTest, OpenFlagsComeFromThePolicy) {
  connection_.cache.directory_open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
  EXPECT_EQ(call(requests::opendir()).as<fuse_open_out>().open_flags,
            std::uint32_t{FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE});
}

TEST_P(DirectoriesTest, ReaddirListsEverything) {
  backing_.put_file("file");
  stdfs::create_directory(path("directory"));
  ASSERT_EQ(::symlink("x", path("link").c_str()), 0);
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  const std::map<std::string, unsigned> types{{".", DT_DIR},    {"..", DT_DIR},
                                              {"file", DT_REG}, {"directory", DT_DIR},
                                              {"link", DT_LNK}, {"fifo", DT_FIFO}};
  const std::uint64_t handle = open_directory();
  const auto entries = read_some(handle, 0);
  EXPECT_EQ(names_of(entries).size(), 6U);
  for (const Listed& listed : entries) {
    ASSERT_EQ(types.count(listed.name), 1U) << listed.name;
    EXPECT_EQ(listed.dirent.type, types.at(listed.name)) << listed.name;
    if (listed.name == "..") continue;
    EXPECT_EQ(listed.dirent.ino, attributes_of(path(listed.name)).ino) << listed.name;
  }
  EXPECT_TRUE(read_some(handle, entries.back().dirent.off).empty());
  EXPECT_EQ(known(), 0U) << "READDIR looks nothing up";
}

TEST_P(DirectoriesTest, ReaddirInPieces) {
  fill(200);
  const std::uint64_t handle = open_directory();
  for (const std::uint32_t bytes : {64U, 300U, 4096U, 65536U, 0x7fffffffU}) {
    const auto all =
        read_all([&](std::uint64_t offset) { return read_some(handle, offset, bytes); });
    EXPECT_EQ(names_of(all), names_) << bytes;
  }
}

TEST_P(DirectoriesTest, OffsetsAreStable) {
  fill(100);
  const std::uint64_t handle = open_directory();
  const auto all = read_all([&](std::uint64_t offset) { return read_some(handle, offset); });
  ASSERT_EQ(all.size(), 102U);
  // Back to any place, in any order, through the same and another handle.
  const std::uint64_t other = open_directory();
  for (std::size_t i = all.size() - 1; i > 0; i -= 7) {
    for (const std::uint64_t of : {handle, other}) {
      const auto rest = read_some(of, all[i - 1].dirent.off);
      ASSERT_FALSE(rest.empty());
      EXPECT_EQ(rest[0].name, all[i].name);
    }
    if (i < 7) break;
  }
}

TEST_P(DirectoriesTest, RewindSeesNewNames) {
  fill(3);
  const std::uint64_t handle = open_directory();
  EXPECT_EQ(names_of(read_some(handle, 0)), names_);
  backing_.put_file("new");
  names_.insert("new");
  EXPECT_EQ(names_of(read_some(handle, 0)), names_);
  stdfs::remove(path("new"));
  names_.erase("new");
  EXPECT_EQ(names_of(read_some(handle, 0)), names_);
}

TEST_P(DirectoriesTest, TheLongestNames) {
  for (const char letter : {'a', 'b', 'c'}) {
    const std::string name(255, letter);
    backing_.put_file(name);
    names_.insert(name);
  }
  const std::uint64_t handle = open_directory();
  EXPECT_EQ(
      names_of(read_all([&](std::uint64_t offset) { return read_some(handle, offset, 280); })),
      names_);
  EXPECT_EQ(
      names_of(read_all([&](std::uint64_t offset) { return read_plus(handle, offset, 408); })),
      names_);
}

TEST_P(DirectoriesTest, ReaddirErrors) {
  fill(1);
  EXPECT_EQ(error_of(requests::readdir(4711, 0, 4096)), EBADF);
  EXPECT_EQ(error_of(requests::readdir(4711, 0, 4096, FUSE_READDIRPLUS)), EBADF);
  EXPECT_EQ(error_of(requests::fsync(4711, 0, FUSE_FSYNCDIR)), EBADF);
  const std::uint64_t handle = open_directory();
  EXPECT_EQ(error_of(requests::readdir(handle, std::uint64_t{1} << 63, 4096)), EINVAL);
  // A file's handle is not a directory's.
  const std::uint64_t file = open("file0", O_RDONLY);
  EXPECT_EQ(error_of(requests::release(handle, FUSE_RELEASEDIR)), 0);
  EXPECT_EQ(error_of(requests::readdir(file, 0, 4096)), EBADF);
}

TEST_P(DirectoriesTest, ARemovedDirectory) {
  stdfs::create_directory(path("directory"));
  const std::uint64_t handle = open_directory(look_up("directory"));
  stdfs::remove(path("directory"));
  // Natively ENOENT, or nothing, as the file system likes.
  const Answer answer = call(requests::readdir(handle, 0, 4096));
  EXPECT_TRUE(answer.error() == ENOENT || answer.error() == 0) << answer.error();
}

TEST_P(DirectoriesTest, Fsyncdir) {
  const std::uint64_t handle = open_directory();
  for (const std::uint32_t flags : {0U, std::uint32_t{FUSE_FSYNC_FDATASYNC}}) {
    EXPECT_EQ(error_of(requests::fsync(handle, flags, FUSE_FSYNCDIR)), 0);
  }
}

// --- READDIRPLUS ---------------------------------------------------------------------------------

TEST_P(DirectoriesTest, ReaddirplusGivesEntries) {
  backing_.put_file("file", "content");
  stdfs::create_directory(path("directory"));
  const auto entries = read_plus(open_directory(), 0);
  EXPECT_EQ(names_of(entries), (std::set<std::string>{".", "..", "file", "directory"}));
  for (const Listed& listed : entries) {
    SCOPED_TRACE(listed.name);
    if (listed.name == "." || listed.name == "..") {
      EXPECT_TRUE(same_bytes(listed.entry, fuse_entry_out{})) << "no lookup is counted for it";
      continue;
    }
    EXPECT_NE(listed.entry.nodeid, 0U);
    EXPECT_TRUE(same_bytes(listed.entry, entry_of(path(listed.name), listed.entry.nodeid)));
    EXPECT_EQ(listed.dirent.ino, listed.entry.attr.ino);
    EXPECT_EQ(look_up(listed.name), listed.entry.nodeid);
  }
}

TEST_P(DirectoriesTest, ReaddirplusCountsOneLookupForEachEntry) {
  fill(100);
  const std::uint64_t handle = open_directory();
  std::vector<fuse_forget_one> granted;
  // Small and large pieces: what does not fit into one must not be counted for it.
  for (const std::uint32_t bytes : {170U, 1000U, 4096U, 128U * 1024}) {
    const auto all =
        read_all([&](std::uint64_t offset) { return read_plus(handle, offset, bytes); });
    EXPECT_EQ(names_of(all), names_) << bytes;
    for (const Listed& listed : all) {
      if (listed.entry.nodeid != 0) granted.push_back({listed.entry.nodeid, 1});
    }
  }
  EXPECT_EQ(granted.size(), 400U);
  EXPECT_EQ(known(), 100U);
  const fuse_forget_one last = granted.back();
  granted.pop_back();
  kernel().send(requests::batch_forget(static_cast<std::uint32_t>(granted.size()), granted));
  catch_up();
  EXPECT_EQ(known(), 1U);
  kernel().send(requests::forget(last.nodeid));
  catch_up();
  EXPECT_EQ(known(), 0U);
}

TEST_P(DirectoriesTest, ReaddirplusOfABelowDirectory) {
  stdfs::create_directory(path("directory"));
  backing_.put_file("directory/inner", "content");
  const std::uint64_t node = look_up("directory");
  const auto entries = read_plus(open_directory(node), 0, 4096, node);
  const auto inner = std::find_if(entries.begin(), entries.end(),
                                  [](const Listed& listed) { return listed.name == "inner"; });
  ASSERT_NE(inner, entries.end());
  EXPECT_EQ(inner->entry.attr.size, 7U);
}

TEST_P(DirectoriesTest, ReaddirplusNamesWhatItCannotLookUp) {
  fill(2);
  stdfs::create_directory(path("other"));
  // The node is not the directory of the handle, so that no name of it is found: as if each had
  // been removed between reading and looking up.
  const auto entries = read_plus(open_directory(), 0, 4096, look_up("other"));
  EXPECT_EQ(entries.size(), 5U);
  for (const Listed& listed : entries) {
    EXPECT_TRUE(same_bytes(listed.entry, fuse_entry_out{})) << listed.name;
    EXPECT_NE(listed.dirent.ino, 0U);
  }
  EXPECT_EQ(known(), 1U);
}

TEST_P(DirectoriesTest, RoomForNoEntry) {
  fill(2);
  const std::uint64_t handle = open_directory();
  for (const std::uint32_t bytes : {0U, 1U, 31U}) {
    EXPECT_TRUE(read_some(handle, 0, bytes).empty());
  }
  for (const std::uint32_t bytes : {0U, 24U, 159U}) {
    EXPECT_TRUE(read_plus(handle, 0, bytes).empty());
  }
  EXPECT_EQ(known(), 0U);
}

OURO_IN_ALL_MODES(DirectoriesTest);

}  // namespace
}  // namespace ouro::fs
