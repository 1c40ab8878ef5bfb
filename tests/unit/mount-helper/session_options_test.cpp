// What the cache modes and options mean to the session.
#include "mount-helper/session_options.hpp"

#include <unistd.h>

#include <gtest/gtest.h>

#include "fs/protocol.hpp"

namespace ouro::mount_helper {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;

fs::CachePolicy policy_of(CacheMode mode) {
  Options options;
  options.cache = mode;
  return cache_policy(options);
}

TEST(CachePolicy, NeverAsksTheSourceEveryTime) {
  const fs::CachePolicy policy = policy_of(CacheMode::kNever);
  EXPECT_EQ(policy.attribute_timeout_ns, 0U);
  EXPECT_EQ(policy.entry_timeout_ns, 0U);
  EXPECT_EQ(policy.negative_timeout_ns, 0U);
  EXPECT_EQ(policy.file_open_flags, unsigned{FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES});
  EXPECT_EQ(policy.directory_open_flags, 0U);
}

TEST(CachePolicy, MetadataKeepsNamesButNoData) {
  const fs::CachePolicy policy = policy_of(CacheMode::kMetadata);
  EXPECT_EQ(policy.attribute_timeout_ns, 86'400 * kSecondNs);
  EXPECT_NE(policy.file_open_flags & FOPEN_DIRECT_IO, 0U);
  EXPECT_EQ(policy.file_open_flags & FOPEN_KEEP_CACHE, 0U);
}

TEST(CachePolicy, AutoTrustsForASecondAndKeepsDataThatIsWatched) {
  const fs::CachePolicy policy = policy_of(CacheMode::kAuto);
  EXPECT_EQ(policy.attribute_timeout_ns, kSecondNs);
  EXPECT_EQ(policy.negative_timeout_ns, 0U);
  EXPECT_EQ(policy.file_open_flags, unsigned{FOPEN_KEEP_CACHE});
  EXPECT_EQ(policy.init_flags, 0U) << "with FUSE_AUTO_INVAL_DATA a write would cost its own pages";
}

TEST(CachePolicy, WatchesWhatIsCachedAndMayChange) {
  Options options;
  EXPECT_TRUE(watches_content(options));
  options.writeback = true;
  EXPECT_TRUE(watches_content(options));
  options.writeback = false;
  options.direct_io = true;
  EXPECT_FALSE(watches_content(options)) << "nothing is cached";
  options.direct_io = false;
  for (const CacheMode mode : {CacheMode::kNever, CacheMode::kMetadata, CacheMode::kAlways}) {
    options.cache = mode;
    EXPECT_FALSE(watches_content(options));
  }
}

TEST(CachePolicy, AlwaysKeepsEverything) {
  const fs::CachePolicy policy = policy_of(CacheMode::kAlways);
  EXPECT_EQ(policy.negative_timeout_ns, 86'400 * kSecondNs);
  EXPECT_EQ(policy.file_open_flags, unsigned{FOPEN_KEEP_CACHE});
  EXPECT_NE(policy.directory_open_flags & FOPEN_CACHE_DIR, 0U);
  EXPECT_EQ(policy.init_flags, 0U);
}

TEST(CachePolicy, SingleOptionsOverrideTheMode) {
  Options options;
  options.cache = CacheMode::kAlways;
  options.attr_timeout_s = 0.5;
  options.entry_timeout_s = 0;
  options.writeback = true;
  const fs::CachePolicy policy = cache_policy(options);
  EXPECT_EQ(policy.attribute_timeout_ns, kSecondNs / 2);
  EXPECT_EQ(policy.entry_timeout_ns, 0U);
  EXPECT_EQ(policy.negative_timeout_ns, 86'400 * kSecondNs);
  EXPECT_EQ(policy.init_flags, std::uint64_t{FUSE_WRITEBACK_CACHE});
}

TEST(CachePolicy, DirectIoBypassesTheCacheInEveryMode) {
  Options options;
  options.cache = CacheMode::kAlways;
  options.direct_io = true;
  EXPECT_EQ(cache_policy(options).file_open_flags,
            unsigned{FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES});
}

TEST(SessionOptions, CarryTheModes) {
  Options options;
  const fs::SessionOptions defaults = session_options(options);
  EXPECT_EQ(defaults.backing, fs::Backing::kRing);
  EXPECT_EQ(defaults.metadata, fs::Metadata::kInline);
  EXPECT_EQ(defaults.tracing, fs::Tracing::kOff);
  EXPECT_FALSE(defaults.only_user);
  EXPECT_EQ(defaults.init_flags, 0U);
  EXPECT_EQ(defaults.max_readahead_bytes, std::nullopt);

  options.backing = BackingMode::kInline;
  options.metadata = MetadataMode::kNested;
  options.max_write_bytes = 8192;
  options.max_readahead_bytes = 4096;
  options.log_level = loop::LogLevel::kDebug;
  options.allow_root = true;
  options.locks = LockMode::kRemote;
  options.idmap = true;
  const fs::SessionOptions session = session_options(options);
  EXPECT_EQ(session.backing, fs::Backing::kInline);
  EXPECT_EQ(session.metadata, fs::Metadata::kNested);
  EXPECT_EQ(session.max_write_bytes, 8192U);
  EXPECT_EQ(session.max_readahead_bytes, 4096U);
  EXPECT_EQ(session.tracing, fs::Tracing::kOn);
  EXPECT_EQ(session.only_user, ::getuid());
  EXPECT_EQ(session.init_flags, FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | fs::wire::kAllowIdmap);
}

TEST(SessionOptions, SayHowTheKernelIsToBack) {
  using Use = fs::KernelBackingOptions::Use;
  Options options;
  EXPECT_EQ(session_options(options).kernel_backing.use, Use::kOff);
  options.backing = BackingMode::kKernel;
  EXPECT_EQ(session_options(options).kernel_backing.use, Use::kWanted);
  EXPECT_EQ(session_options(options).backing, fs::Backing::kRing) << "what else there is";
  options.backing = BackingMode::kAuto;
  EXPECT_EQ(session_options(options).kernel_backing.use, Use::kIfPossible);
  EXPECT_FALSE(session_options(options).kernel_backing.max_stack_depth) << "by the source";
  options.passthrough_stack_depth = 1;
  EXPECT_EQ(session_options(options).kernel_backing.max_stack_depth, 1U);
}

}  // namespace
}  // namespace ouro::mount_helper
