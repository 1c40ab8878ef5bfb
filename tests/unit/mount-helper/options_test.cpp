#include "mount-helper/options.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ouro::mount_helper {
namespace {

Outcome<CommandLine> parse(const std::vector<const char*>& words) {
  std::vector<std::string> storage = {"ourofs"};
  storage.insert(storage.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : storage) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse_options(static_cast<int>(storage.size()), argv.data());
}

Options accepted(const std::vector<const char*>& words) {
  const auto line = parse(words);
  if (!line) {
    ADD_FAILURE() << render(line.error());
    return {};
  }
  EXPECT_EQ(line->action, Action::kMount);
  return line->options;
}

// For tests of options alone: the two names are there.
Options with(std::vector<const char*> words) {
  words.insert(words.end(), {"/s", "/m"});
  return accepted(words);
}

TEST(Options, Defaults) {
  const Options options = accepted({"/s", "/m"});
  EXPECT_EQ(options.source, "/s");
  EXPECT_EQ(options.mountpoint, "/m");
  EXPECT_FALSE(options.foreground);
  EXPECT_FALSE(options.debug);
  EXPECT_EQ(options.log_level, loop::LogLevel::kInfo);
  EXPECT_GE(options.loops, 1U);
  EXPECT_LE(options.loops, 4U);
  EXPECT_EQ(options.cache, CacheMode::kAuto);
  EXPECT_FALSE(options.attr_timeout_s.has_value());
  EXPECT_FALSE(options.entry_timeout_s.has_value());
  EXPECT_FALSE(options.negative_timeout_s.has_value());
  EXPECT_FALSE(options.writeback);
  EXPECT_FALSE(options.direct_io);
  EXPECT_EQ(options.backing, BackingMode::kRing);
  EXPECT_EQ(options.metadata, MetadataMode::kInline);
  EXPECT_EQ(options.max_write_bytes, 1U << 20U);
  EXPECT_EQ(options.locks, LockMode::kLocal);
  EXPECT_FALSE(options.one_file_system);
  EXPECT_FALSE(options.allow_other);
  EXPECT_FALSE(options.default_permissions);
  EXPECT_TRUE(options.mount_options.empty());
  EXPECT_EQ(options.mount_attributes, 0U);
}

TEST(Options, MayStandAnywhere) {
  for (const auto& options :
       {accepted({"-f", "-o", "loops=3", "a", "b"}), accepted({"a", "-f", "-oloops=3", "b"}),
        accepted({"a", "b", "--foreground", "--loops=3"}),
        accepted({"a", "b", "-o", "foreground,loops=3"}),
        accepted({"-f", "--loops=3", "--", "a", "b"})}) {
    EXPECT_EQ(options.source, "a");
    EXPECT_EQ(options.mountpoint, "b");
    EXPECT_TRUE(options.foreground);
    EXPECT_EQ(options.loops, 3U);
  }
}

TEST(Options, WhatHoldsForTheSourceAsWell) {
  EXPECT_EQ(source_attributes(with({"-o", "ro,nosymfollow"})), 0U);
  EXPECT_EQ(source_attributes(with({"-o", "noatime"})), std::uint64_t{MOUNT_ATTR_NOATIME});
  EXPECT_EQ(source_attributes(with({"-o", "noatime,nodiratime"})),
            std::uint64_t{MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME});
}

TEST(Options, AfterTwoDashesEverythingIsAName) {
  const Options options = accepted({"--", "-f", "--loops=3"});
  EXPECT_EQ(options.source, "-f");
  EXPECT_EQ(options.mountpoint, "--loops=3");
}

TEST(Options, LongNamesTakeHyphensOrUnderscores) {
  EXPECT_EQ(with({"--attr-timeout=1"}).attr_timeout_s, 1.0);
  EXPECT_EQ(with({"--attr_timeout=1.5"}).attr_timeout_s, 1.5);
  EXPECT_EQ(with({"-o", "attr_timeout=0"}).attr_timeout_s, 0.0);
  EXPECT_TRUE(with({"--one-file-system"}).one_file_system);
}

TEST(Options, TheLastOneWins) {
  EXPECT_EQ(with({"-o", "loops=2,loops=5"}).loops, 5U);
  EXPECT_EQ(with({"-s", "--loops=5"}).loops, 5U);
  EXPECT_EQ(with({"--loops=5", "-s"}).loops, 1U);
  EXPECT_EQ(with({"-o", "nosymfollow,symfollow"}).mount_attributes, 0U);
}

TEST(Options, OwnOptions) {
  const Options options =
      with({"-o", "entry_timeout=2,negative_timeout=3,writeback,backing=inline,metadata=nested"});
  EXPECT_EQ(options.entry_timeout_s, 2.0);
  EXPECT_EQ(options.negative_timeout_s, 3.0);
  EXPECT_TRUE(options.writeback);
  EXPECT_EQ(options.backing, BackingMode::kInline);
  EXPECT_EQ(options.metadata, MetadataMode::kNested);
  EXPECT_EQ(with({"--backing=kernel"}).backing, BackingMode::kKernel);
  EXPECT_EQ(with({"--backing=auto"}).backing, BackingMode::kAuto);
  EXPECT_FALSE(options.passthrough_stack_depth);
  EXPECT_EQ(with({"--passthrough-stack-depth=2"}).passthrough_stack_depth, 2U);
  EXPECT_FALSE(with({"-o", "passthrough_stack_depth=1,passthrough_stack_depth=auto"})
                   .passthrough_stack_depth);
  EXPECT_TRUE(with({"--direct-io"}).direct_io);
  EXPECT_EQ(with({"--cache=never"}).cache, CacheMode::kNever);
  EXPECT_EQ(with({"--cache=metadata"}).cache, CacheMode::kMetadata);
  EXPECT_EQ(with({"--cache=auto"}).cache, CacheMode::kAuto);
  EXPECT_EQ(with({"--cache=always"}).cache, CacheMode::kAlways);
  EXPECT_EQ(with({"--locks=remote"}).locks, LockMode::kRemote);
  EXPECT_EQ(with({"--locks=remote", "--locks=local"}).locks, LockMode::kLocal);
  EXPECT_EQ(with({"--log-level=error"}).log_level, loop::LogLevel::kError);
}

TEST(Options, MaxWriteTakesUnits) {
  EXPECT_EQ(with({"-o", "max_write=4096"}).max_write_bytes, 4096U);
  EXPECT_EQ(with({"-o", "max_write=128K"}).max_write_bytes, 128U * 1024);
  EXPECT_EQ(with({"-o", "max_write=512k"}).max_write_bytes, 512U * 1024);
  EXPECT_EQ(with({"-o", "max_write=1M"}).max_write_bytes, 1024U * 1024);
  EXPECT_EQ(with({"-o", "max_write=4m"}).max_write_bytes, 4096U * 1024);
  EXPECT_EQ(with({"-o", "max_write=262140K"}).max_write_bytes, 65535U * 4096);
}

TEST(Options, MaxReadAheadTakesUnitsAndNone) {
  EXPECT_EQ(with({}).max_readahead_bytes, std::nullopt);
  EXPECT_EQ(with({"-o", "max_readahead=0"}).max_readahead_bytes, 0U);
  EXPECT_EQ(with({"-o", "max_readahead=131072"}).max_readahead_bytes, 131072U);
  EXPECT_EQ(with({"--max-readahead=512K"}).max_readahead_bytes, 512U * 1024);
  EXPECT_EQ(with({"-o", "max_readahead=1024M"}).max_readahead_bytes, 1U << 30U);
}

TEST(Options, TheMachinesLimitIsRaisedOnlyWhereThatIsAskedFor) {
  EXPECT_FALSE(with({"-o", "max_write=4M"}).raise_max_pages_limit);
  EXPECT_TRUE(with({"-o", "max_write=4M,raise_max_pages_limit"}).raise_max_pages_limit);
  EXPECT_TRUE(with({"--raise-max-pages-limit"}).raise_max_pages_limit);
}

TEST(Options, DebugImpliesForegroundAndItsLevel) {
  const Options options = with({"-d", "--log-level=error"});
  EXPECT_TRUE(options.debug);
  EXPECT_TRUE(options.foreground);
  EXPECT_EQ(options.log_level, loop::LogLevel::kDebug);
}

TEST(Options, LettingOthersInForcesPermissionChecks) {
  EXPECT_TRUE(with({"-o", "allow_other"}).default_permissions);
  EXPECT_TRUE(with({"-o", "allow_root"}).default_permissions);
  EXPECT_FALSE(with({"-o", "ro"}).default_permissions);
}

TEST(Options, IdmapIsForRootAndForcesPermissionChecks) {
  EXPECT_FALSE(with({}).idmap);
  const auto line = parse({"-o", "idmap", "/s", "/m"});
  ASSERT_EQ(line.has_value(), ::geteuid() == 0);
  if (line) {
    EXPECT_TRUE(line->options.idmap);
    EXPECT_TRUE(line->options.default_permissions);
  } else {
    EXPECT_EQ(line.error().message, "option 'idmap' is for root only");
  }
}

TEST(Options, SourceMayBeAnOption) {
  const Options options = accepted({"-o", "ro,source=/a\\,b", "/m"});
  EXPECT_EQ(options.source, "/a,b");
  EXPECT_EQ(options.mountpoint, "/m");
}

TEST(Options, WhatLibfuseTakesIsPassedOnInOrder) {
  const Options options = with({"-o", "ro,rw,suid,nodev", "--noatime", "-o", "max_read=65536"});
  EXPECT_EQ(options.mount_options,
            (std::vector<std::string>{"ro", "rw", "suid", "nodev", "noatime", "max_read=65536"}));
}

TEST(Options, WordsOfFstabForOthersAreIgnored) {
  const Options options =
      with({"-o", "nofail,_netdev,noauto,auto,user,nouser,users,defaults,nonempty,comment=any word",
            "-o", "x-systemd.requires=network.target,x-gvfs-hide,,", "--nofail", "--x-any=1"});
  EXPECT_TRUE(options.mount_options.empty());
}

TEST(Options, HelpAndVersionNeedNoNames) {
  EXPECT_EQ(parse({"-h"})->action, Action::kShowHelp);
  EXPECT_EQ(parse({"--help"})->action, Action::kShowHelp);
  EXPECT_EQ(parse({"-o", "ro", "-V"})->action, Action::kShowVersion);
  EXPECT_EQ(parse({"--version", "--nonsense"})->action, Action::kShowVersion);
}

struct BadLine {
  std::vector<const char*> words;
  const char* message;
};

const std::vector<BadLine> kBadLines = {
    {{}, "SOURCE and MOUNTPOINT are missing"},
    {{"/s"}, "MOUNTPOINT is missing"},
    {{"-o", "source=/s"}, "MOUNTPOINT is missing"},
    {{"/s", "/m", "/x"}, "unexpected argument '/x'"},
    {{"-o", "source=/s", "/m", "/x"}, "unexpected argument '/x'"},
    {{"/s", "/m", "-o", "foo"}, "unknown option 'foo'"},
    {{"/s", "/m", "-o", "ro,foo=bar"}, "unknown option 'foo'"},
    {{"/s", "/m", "--foo=bar"}, "unknown option '--foo'"},
    {{"/s", "/m", "-x"}, "unknown option '-x'"},
    {{"/s", "/m", "-fd"}, "unknown option '-fd'"},
    {{"/s", "/m", "-"}, "unknown option '-'"},
    {{"/s", "/m", "--f"}, "unknown option '--f'"},
    {{"/s", "/m", "-o", "a\nb"}, "unknown option 'a?b'"},
    {{"/s", "/m", "-o", "blkdev"}, "unknown option 'blkdev'"},
    {{"/s", "/m", "-o"}, "option '-o' needs a value, as in -o ro,loops=2"},
    {{"/s", "/m", "--loops", "2"}, "option 'loops' needs a value, as in loops=N"},
    {{"/s", "/m", "-o", "cache="}, "option 'cache' needs a value, as in cache=MODE"},
    {{"/s", "/m", "-o", "fsname"}, "option 'fsname' needs a value, as in fsname=NAME"},
    {{"/s", "/m", "--writeback=yes"}, "option 'writeback' takes no value"},
    {{"/s", "/m", "-o", "loops=0"}, "option 'loops': '0' is not a number from 1 to 64"},
    {{"/s", "/m", "-o", "loops=65"}, "option 'loops': '65' is not a number from 1 to 64"},
    {{"/s", "/m", "-o", "loops=-1"}, "option 'loops': '-1' is not a number from 1 to 64"},
    {{"/s", "/m", "-o", "loops=2x"}, "option 'loops': '2x' is not a number from 1 to 64"},
    {{"/s", "/m", "-o", "loops=99999999999"},
     "option 'loops': '99999999999' is not a number from 1 to 64"},
    {{"/s", "/m", "-o", "cache=maybe"},
     "option 'cache': 'maybe' is not never, metadata, auto or always"},
    {{"/s", "/m", "-o", "backing=disk"},
     "option 'backing': 'disk' is not ring, inline, kernel or auto"},
    {{"/s", "/m", "-o", "passthrough_stack_depth=3"},
     "option 'passthrough_stack_depth': '3' is not auto, 1 or 2"},
    {{"/s", "/m", "-o", "metadata=ring"},
     "option 'metadata': 'ring' is not auto, inline or nested"},
    {{"/s", "/m", "-o", "locks=none"}, "option 'locks': 'none' is not local or remote"},
    {{"/s", "/m", "-o", "inode_file_handles=always"},
     "option 'inode_file_handles': 'always' is not never, prefer or mandatory"},
    {{"/s", "/m", "-o", "log_level=loud"},
     "option 'log_level': 'loud' is not error, warning, info or debug"},
    {{"/s", "/m", "-o", "attr_timeout=-1"},
     "option 'attr_timeout': '-1' is not a number of seconds from 0 to 1000000000"},
    {{"/s", "/m", "-o", "attr_timeout=inf"},
     "option 'attr_timeout': 'inf' is not a number of seconds from 0 to 1000000000"},
    {{"/s", "/m", "-o", "entry_timeout=nan"},
     "option 'entry_timeout': 'nan' is not a number of seconds from 0 to 1000000000"},
    {{"/s", "/m", "-o", "negative_timeout=1s"},
     "option 'negative_timeout': '1s' is not a number of seconds from 0 to 1000000000"},
    {{"/s", "/m", "-o", "max_write=0"},
     "option 'max_write': '0' is not a multiple of 4K from 4K to 262140K"},
    {{"/s", "/m", "-o", "max_write=256M"},
     "option 'max_write': '256M' is not a multiple of 4K from 4K to 262140K"},
    {{"/s", "/m", "-o", "max_write=5000"},
     "option 'max_write': '5000' is not a multiple of 4K from 4K to 262140K"},
    {{"/s", "/m", "-o", "max_write=K"},
     "option 'max_write': 'K' is not a multiple of 4K from 4K to 262140K"},
    {{"/s", "/m", "-o", "max_write=4294967295M"},
     "option 'max_write': '4294967295M' is not a multiple of 4K from 4K to 262140K"},
    {{"/s", "/m", "-o", "max_readahead=1025M"},
     "option 'max_readahead': '1025M' is not a multiple of 4K from 0 to 1024M"},
    {{"/s", "/m", "-o", "max_readahead=1000"},
     "option 'max_readahead': '1000' is not a multiple of 4K from 0 to 1024M"},
    {{"/s", "/m", "-o", "max_readahead=-1"},
     "option 'max_readahead': '-1' is not a multiple of 4K from 0 to 1024M"},
    {{"/s", "/m", "-o", "max_read=many"}, "option 'max_read': 'many' is not a number of bytes"},
    {{"/s", "/m", "-o", "writeback,cache=never"},
     "options 'writeback' and 'cache=never' exclude each other"},
    {{"/s", "/m", "-o", "direct_io,writeback"},
     "options 'writeback' and 'direct_io' exclude each other"},
    {{"/s", "/m", "-o", "idmap,allow_root"}, "options 'idmap' and 'allow_root' exclude each other"},
    {{"/s", "/m", "-o", "allow_root,allow_other"},
     "options 'allow_other' and 'allow_root' exclude each other"}};

TEST(Options, BadLinesAreUsageErrorsInOneLine) {
  for (const BadLine& bad : kBadLines) {
    ::testing::internal::CaptureStderr();
    const auto line = parse(bad.words);
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "libfuse must not speak for us";
    ASSERT_FALSE(line.has_value()) << bad.message;
    EXPECT_EQ(line.error(), (Failure{ExitCode::kUsage, bad.message, "try 'ourofs --help'"}));
  }
}

TEST(LibfuseOptions, NameTheMountAfterItsSource) {
  EXPECT_EQ(libfuse_options(with({}), "/a,b"),
            (std::vector<std::string>{"fsname=/a,b", "subtype=ourofs"}));
}

TEST(LibfuseOptions, KeepTheNamesThatWereGiven) {
  EXPECT_EQ(libfuse_options(with({"-o", "subtype=mine,ro,fsname=x"}), "/a"),
            (std::vector<std::string>{"subtype=mine", "ro", "fsname=x"}));
}

TEST(LibfuseOptions, SayWhoMayComeIn) {
  EXPECT_EQ(
      libfuse_options(with({"-o", "allow_other,fsname=x,subtype=y"}), "/a"),
      (std::vector<std::string>{"fsname=x", "subtype=y", "allow_other", "default_permissions"}));
  EXPECT_EQ(
      libfuse_options(with({"-o", "allow_root,fsname=x,subtype=y"}), "/a"),
      (std::vector<std::string>{"fsname=x", "subtype=y", "allow_root", "default_permissions"}));
}

}  // namespace
}  // namespace ouro::mount_helper
