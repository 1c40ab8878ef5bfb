// Set-id bits and capabilities of files after every kind of change by everybody: what a call says,
// what the mode is then, and what is left in the source, natively and through the mount.
// Exhaustive: each combination is a file of its own, on XFS, which can also clone.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"
#include "tests/integration/identity.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"
#include "tests/integration/set_id_changes.hpp"
#include "tests/support/loop_image.hpp"

namespace ouro::testing {
namespace {

using std::filesystem::path;

constexpr uid_t kOwner = 1001;
constexpr gid_t kGroup = 2000;

const std::vector<Identity> kActors = {{"owner", kOwner, 1001},
                                       {"member", 1002, 1002, {kGroup}},
                                       {"member-by-gid", 1003, kGroup},
                                       {"other", 1004, 1004},
                                       {"root", 0, 0},
                                       {"root-without-fsetid", 0, 0, {}, false}};

struct Kind {
  const char* name;
  mode_t mode;
  bool has_capability = false;
};

constexpr Kind kKinds[] = {{"6777", 06777},
                           {"2755", 02755},
                           {"2644", 02644},
                           {"4666", 04666},
                           {"2767", 02767},
                           {"0755+capability", 0755, true},
                           {"0777+capability", 0777, true},
                           {"6777+capability", 06777, true}};

struct Combination {
  const Change* change;
  const Kind* kind;
  const Identity* actor;

  // Whether the change or the kind has that name.
  [[nodiscard]] bool is(std::string_view word) const {
    return word == change->name || word == kind->name;
  }
  [[nodiscard]] std::string name() const {
    return std::string(change->name) + " " + kind->name + " " + actor->name;
  }
};

std::vector<Combination> combinations_of(const Identity& actor) {
  std::vector<Combination> all;
  for (const Change& change : set_id_changes()) {
    for (const Kind& kind : kKinds) all.push_back({&change, &kind, &actor});
  }
  return all;
}

// cap_net_bind_service, permitted and effective.
bool set_capability(const path& file) {
  vfs_cap_data value{};
  value.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  value.data[0].permitted = 1U << CAP_NET_BIND_SERVICE;
  return ::setxattr(file.c_str(), "security.capability", &value, sizeof value, 0) == 0;
}

void make_file_of(const Kind& kind, const path& file) {
  const loop::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const std::string content(kChangedFileBytes, 'x');
  ASSERT_EQ(::write(fd.get(), content.data(), content.size()), ssize_t{kChangedFileBytes});
  ASSERT_EQ(::fchown(fd.get(), kOwner, kGroup), 0);
  ASSERT_EQ(::fchmod(fd.get(), kind.mode), 0);
  ASSERT_TRUE(!kind.has_capability || set_capability(file)) << std::strerror(errno);
}

void make_files(const path& directory) {
  std::filesystem::create_directory(directory);
  make_file_of({"donor", 0644}, directory / kDonor);
  for (const Identity& actor : kActors) {
    for (const Combination& one : combinations_of(actor)) {
      make_file_of(*one.kind, directory / one.name());
    }
  }
}

std::string mode_and_capability(const path& file) {
  struct ::stat found {};
  if (::stat(file.c_str(), &found) != 0) return Transcript::error_name(errno);
  std::array<char, 8> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", found.st_mode & 07777U);
  const bool has = ::getxattr(file.c_str(), "security.capability", nullptr, 0) > 0;
  return std::string(mode.data()) + (has ? "+capability" : "");
}

// What the combinations of `actor` came to, in the current directory and as that actor. The mode is
// looked at before the change as well, so that the client has something to be wrong about.
std::vector<std::string> act_all(const Identity& actor) {
  std::vector<std::string> outcomes;
  for (const Combination& one : combinations_of(actor)) {
    const std::string name = one.name();
    static_cast<void>(mode_and_capability(name));
    const long result = one.change->act(name.c_str());
    const std::string outcome = result < 0 ? Transcript::error_name(errno) : "ok";
    outcomes.push_back(outcome + ", then " + mode_and_capability(name));
  }
  return outcomes;
}

// `seen` is the directory that is acted in; `real` the same one on the source's file system.
std::vector<std::string> outcomes(const Identity& actor, const path& seen, const path& real) {
  std::vector<std::string> lines = lines_of(actor, [&] {
    return ::chdir(seen.c_str()) == 0 ? act_all(actor) : std::vector<std::string>{};
  });
  const auto combinations = combinations_of(actor);
  if (lines.size() != combinations.size()) return {};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    lines[i] += ", left " + mode_and_capability(real / combinations[i].name());
  }
  return lines;
}

struct Variant {
  Mode mode;
  const char* name;
  const char* options;
};

// What the kernel's FUSE client does of itself, and nobody behind it can do otherwise. Everything
// else must be as it is natively.

std::string without_capability(std::string outcome) {
  constexpr std::string_view kWord = "+capability";
  for (std::size_t at = 0; (at = outcome.find(kWord)) != std::string::npos;) {
    outcome.erase(at, kWord.size());
  }
  return outcome;
}

// KERNEL: fs/fuse/file.c, fuse_file_operations has no remap_file_range, so FICLONE is refused.
bool is_refused_clone(const Combination& one, const std::string&, const std::string& mount) {
  const std::string unchanged = one.kind->name;
  return one.is("clone") && mount == "EOPNOTSUPP, then " + unchanged + ", left " + unchanged;
}

// KERNEL: what is stored through a mapping comes as writes (fs/fuse/file.c, fuse_writepages()), and
// every write to the source takes a capability away (security/commoncap.c,
// cap_inode_need_killpriv()). Natively a mapping leaves it.
bool is_mapped_store(const Combination& one, const std::string& native, const std::string& mount) {
  return one.is("mapped-store") && one.kind->has_capability && mount == without_capability(native);
}

// KERNEL: of chown(path, -1, -1) the client sends a change of nothing, as it does before a write by
// anyone who may write the file, so it cannot be refused; and where there are set-id bits the
// client itself takes the capability away, before it (fs/fuse/dir.c, fuse_setattr() removes
// ATTR_MODE, on which fs/attr.c, setattr_prepare() would have refused).
bool is_chown_to_nobody(const Combination& one, const std::string& native,
                        const std::string& mount) {
  const std::string unchanged = without_capability(one.kind->name);
  return one.is("chown-nothing") && native.starts_with("EPERM") &&
         mount == "ok, then " + unchanged + ", left " + unchanged;
}

// KERNEL: before a write that takes a capability away the client sends a REMOVEXATTR and a SETATTR
// of nothing, even for root (fs/attr.c, notify_change(): ATTR_KILL_PRIV). That is also all that
// chown(path, -1, -1) sends, which must clear set-id bits.
bool is_change_by_root(const Combination& one, const std::string& native,
                       const std::string& mount) {
  return one.actor->uid == 0 && one.is("6777+capability") && native == "ok, then 6777, left 6777" &&
         mount == "ok, then 0777, left 0777";
}

bool is_known(const Combination& one, const std::string& native, const std::string& mount) {
  return is_refused_clone(one, native, mount) || is_mapped_store(one, native, mount) ||
         is_chown_to_nobody(one, native, mount) || is_change_by_root(one, native, mount);
}

void compare(const Identity& actor, const std::vector<std::string>& native,
             const std::vector<std::string>& mount) {
  const auto combinations = combinations_of(actor);
  ASSERT_EQ(native.size(), combinations.size()) << actor.name;
  ASSERT_EQ(mount.size(), combinations.size()) << actor.name;
  for (std::size_t i = 0; i < combinations.size(); ++i) {
    if (native[i] == mount[i] || is_known(combinations[i], native[i], mount[i])) continue;
    ADD_FAILURE() << combinations[i].name() << "\n  native: " << native[i]
                  << "\n  mount:  " << mount[i];
  }
}

class SetIdMatrix : public ::testing::TestWithParam<Variant> {};

TEST_P(SetIdMatrix, ClearsWhatNativeClears) {
  const Variant& variant = GetParam();
  OURO_REQUIRE(has_root());
  auto made = LoopImage::create("xfs");
  if (const auto* missing = std::get_if<LoopImage::Missing>(&made)) GTEST_SKIP() << missing->reason;
  const auto image = std::get<std::unique_ptr<LoopImage>>(std::move(made));
  std::filesystem::create_directory(image->path() / "source");
  Mounted mounted(
      {.options = variant.mode.options(std::string("allow_other,suid") + variant.options),
       .source = image->path() / "source"});
  make_files(mounted.native() / "files");
  make_files(mounted.source() / "files");
  for (const Identity& actor : kActors) {
    compare(actor, outcomes(actor, mounted.native() / "files", mounted.native() / "files"),
            outcomes(actor, mounted.path() / "files", mounted.source() / "files"));
  }
  for (const auto& complaint : disprove(variant.mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

constexpr Mode kRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2};
constexpr Mode kOverRing{Who::kRoot, Backing::kRing, Metadata::kInline, 2, Transport::kRing};
constexpr Mode kNested{Who::kRoot, Backing::kRing, Metadata::kNested, 1};
constexpr Mode kInline{Who::kRoot, Backing::kInline, Metadata::kInline, 1};
constexpr Mode kKernel{Who::kRoot, Backing::kKernel, Metadata::kInline, 2};

INSTANTIATE_TEST_SUITE_P(, SetIdMatrix,
                         ::testing::Values(Variant{kRing, "RingAuto", ""},
                                           Variant{kInline, "InlineAuto", ""},
                                           Variant{kNested, "NestedAuto", ""},
                                           Variant{kOverRing, "OverRingAuto", ""},
                                           Variant{kRing, "RingNever", ",cache=never"},
                                           Variant{kInline, "InlineNever", ",cache=never"},
                                           Variant{kRing, "RingWriteback", ",writeback"},
                                           Variant{kInline, "InlineWriteback", ",writeback"},
                                           Variant{kRing, "RingDirectIo", ",direct_io"},
                                           Variant{kInline, "InlineDirectIo", ",direct_io"},
                                           Variant{kKernel, "KernelAuto", ""},
                                           Variant{kKernel, "KernelAlways", ",cache=always"}),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace ouro::testing
