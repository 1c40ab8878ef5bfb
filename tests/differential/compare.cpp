#include "tests/differential/compare.hpp"

#include <cstdlib>
#include <optional>

#include <fmt/format.h>

namespace ouro::differential {
namespace {

constexpr const char* kAbsent = "absent";

Relation relation_of(std::int64_t native, std::int64_t mount) {
  if (native == mount) return Relation::kNone;
  return mount < native ? Relation::kMountLess : Relation::kMountGreater;
}

Relation relation_of(TimeOrder order) {
  if (order == TimeOrder::kSame) return Relation::kNone;
  return order == TimeOrder::kMountOlder ? Relation::kMountLess : Relation::kMountGreater;
}

std::string show(const Fact& fact, const Timeline& timeline) {
  switch (fact.kind) {
    case FactKind::kNumber:
    case FactKind::kSectors:
      return std::to_string(fact.number);
    case FactKind::kOctal:
      return fmt::format("0{:o}", fact.number);
    case FactKind::kTime:
    case FactKind::kAccessTime:
      return describe_origin(timeline.locate(fact.number));
    case FactKind::kText:
      break;
  }
  return fact.text;
}

Relation compare_times(const Fact& native, const Fact& mount, const Yardstick& yardstick) {
  const Origin left = yardstick.native.locate(native.number);
  const Origin right = yardstick.mount.locate(mount.number);
  if (native.kind == FactKind::kAccessTime && !left.is_explicit && !right.is_explicit &&
      yardstick.access_times == AccessTimes::kExplicitOnly) {
    return Relation::kNone;
  }
  return relation_of(compare_origins(left, right));
}

std::optional<Difference> compare_facts(const Fact& native, const Fact& mount,
                                        const Yardstick& yardstick) {
  Relation relation = Relation::kNone;
  if (native.kind == FactKind::kTime || native.kind == FactKind::kAccessTime) {
    relation = compare_times(native, mount, yardstick);
  } else if (native.kind != FactKind::kSectors ||
             std::abs(native.number - mount.number) > yardstick.slack_sectors) {
    relation = relation_of(native.number, mount.number);
  }
  if (relation == Relation::kNone && native.text == mount.text) return std::nullopt;
  return Difference{native.name, show(native, yardstick.native), show(mount, yardstick.mount),
                    relation, native.kind};
}

}  // namespace

std::vector<Difference> compare_outcomes(const Outcome& native, const Outcome& mount,
                                         const Yardstick& yardstick) {
  if (native.error() != mount.error()) {
    return {{"errno", errno_name(native.error()), errno_name(mount.error())}};
  }
  std::vector<Difference> differences;
  if (native.result() != mount.result()) {
    differences.push_back({"result", std::to_string(native.result()),
                           std::to_string(mount.result()),
                           relation_of(native.result(), mount.result()), FactKind::kNumber});
  }
  for (const Fact& fact : native.facts()) {
    const Fact* other = mount.find(fact.name);
    if (other == nullptr) {
      differences.push_back({fact.name, show(fact, yardstick.native), kAbsent});
    } else if (auto difference = compare_facts(fact, *other, yardstick)) {
      differences.push_back(*std::move(difference));
    }
  }
  for (const Fact& fact : mount.facts()) {
    if (native.find(fact.name) == nullptr) {
      differences.push_back({fact.name, kAbsent, show(fact, yardstick.mount)});
    }
  }
  return differences;
}

}  // namespace ouro::differential
