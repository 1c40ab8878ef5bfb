// The reviewed list of differences from native that are not the file system's to avoid, read from
// known-differences.md, whose head documents the format. Immutable once parsed, but for the counts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "loop/result.hpp"
#include "tests/differential/call.hpp"
#include "tests/differential/compare.hpp"
#include "tests/differential/outcome.hpp"

namespace ouro::differential {

// A difference with everything a rule can ask for.
struct Sighting {
  std::string call;            // the name of a row, "tree-mount" or "tree-source"
  const Call* made = nullptr;  // null in a tree
  const Outcome* native = nullptr;
  const Difference* difference = nullptr;
  std::string filesystem;
  bool by_root = false;
  std::string cache;                                    // the mount's option
  const std::set<std::string>* calls_so_far = nullptr;  // of the sequence, this one included
};

enum class Then { kContinue, kEndSequence };

// PARAMETER or FACT, is / has / lacks / above / below, VALUE.
struct Condition {
  std::string subject;
  std::string verb;
  std::string value;
};

struct KnownDifference {
  std::string id;
  std::vector<std::string> calls;
  std::vector<std::string> fields;
  std::vector<std::string> native;
  std::vector<std::string> mount;
  std::vector<std::string> filesystems;
  std::vector<std::string> caches;
  std::vector<std::string> after;
  std::string identity;
  Relation relation = Relation::kNone;
  bool differs = false;  // any two values will do
  std::vector<Condition> with;
  std::vector<Condition> where;
  Then then = Then::kContinue;
  std::string reason;
  std::string kernel;

  [[nodiscard]] bool matches(const Sighting& sighting) const;
};

class KnownDifferences {
 public:
  KnownDifferences() = default;
  // On an error: nothing, and `complaint` says which line is wrong, and why.
  static std::optional<KnownDifferences> parse(std::string_view text, std::string& complaint);

  // The first entry that matches, or null.
  [[nodiscard]] const KnownDifference* find(const Sighting& sighting) const;
  [[nodiscard]] const std::vector<KnownDifference>& entries() const { return entries_; }

 private:
  std::vector<KnownDifference> entries_;
};

}  // namespace ouro::differential
