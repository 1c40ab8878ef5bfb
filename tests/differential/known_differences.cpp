#include "tests/differential/known_differences.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "tests/differential/call_table.hpp"

namespace ouro::differential {
namespace {

// In the cache mode of this name any call may leave what only some leave in the others.
constexpr std::string_view kWriteback = "writeback";
// No call, but what any call may have been given.
constexpr std::string_view kBadMemoryGiven = "bad-memory";

std::string trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(trim(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

bool contains(const std::vector<std::string>& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// An empty list asks for nothing.
bool allows(const std::vector<std::string>& values, const std::string& value) {
  return values.empty() || contains(values, value);
}

std::optional<std::int64_t> to_number(const std::string& text) {
  const int base = text.size() > 1 && text.front() == '0' ? 8 : 10;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Conditions of the form SUBJECT VERB VALUE.
struct Verb {
  const char* name;
  bool (*holds)(const std::string& actual, const std::string& wanted);
};

bool is_one_of(const std::string& actual, const std::string& wanted) {
  return contains(split(wanted, " or "), actual);
}

bool has_flag(const std::string& actual, const std::string& wanted) {
  return contains(split(actual, "|"), wanted);
}

bool is_above(const std::string& actual, const std::string& wanted) {
  const auto left = to_number(actual);
  const auto right = to_number(wanted);
  return left && right && *left > *right;
}

constexpr Verb kVerbs[] = {
    {"is", is_one_of},
    {"has", has_flag},
    {"lacks", [](const std::string& a, const std::string& w) { return !has_flag(a, w); }},
    {"above", is_above},
    {"below", [](const std::string& a, const std::string& w) { return is_above(w, a); }}};

bool holds(const Condition& condition, const std::string& actual) {
  for (const Verb& verb : kVerbs) {
    if (verb.name == condition.verb) return verb.holds(actual, condition.value);
  }
  return false;
}

bool argument_holds(const Condition& condition, const Call& call) {
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name != condition.subject) continue;
    return holds(condition, format_argument(*parameters[i].type, call.arguments[i]));
  }
  return false;
}

// "path/mtime" is the fact "mtime" of the prefix "path/".
std::size_t prefix_size(const std::string& field) {
  return field.rfind('/') + 1;
}

std::string show(const Fact& fact) {
  if (fact.kind == FactKind::kOctal) return fmt::format("0{:o}", fact.number);
  return fact.kind == FactKind::kText ? fact.text : std::to_string(fact.number);
}

bool fact_holds(const Condition& condition, const Outcome& native, const std::string& field) {
  const bool is_of_an_argument = prefix_size(condition.subject) != 0;
  const std::string prefix = is_of_an_argument ? "" : field.substr(0, prefix_size(field));
  const Fact* fact = native.find(prefix + condition.subject);
  return fact != nullptr && holds(condition, show(*fact));
}

std::optional<Condition> parse_condition(const std::string& text) {
  for (const Verb& verb : kVerbs) {
    const std::string separator = std::string(" ") + verb.name + " ";
    const std::size_t at = text.find(separator);
    if (at == std::string::npos) continue;
    return Condition{trim(text.substr(0, at)), verb.name, trim(text.substr(at + separator.size()))};
  }
  return std::nullopt;
}

bool is_call_name(const std::string& name) {
  return name == "any" || name == "tree-mount" || name == "tree-source" ||
         find_row(name) != nullptr;
}

using Setter = bool (*)(KnownDifference&, const std::string& value);

struct Key {
  const char* name;
  Setter set;
};

template <std::vector<std::string> KnownDifference::*kMember>
bool set_list(KnownDifference& entry, const std::string& value) {
  entry.*kMember = split(value, ",");
  return true;
}

template <std::vector<std::string> KnownDifference::*kMember>
bool set_alternatives(KnownDifference& entry, const std::string& value) {
  entry.*kMember = split(value, " or ");
  return true;
}

template <std::string KnownDifference::*kMember>
bool set_text(KnownDifference& entry, const std::string& value) {
  entry.*kMember = value;
  return !value.empty();
}

template <std::vector<Condition> KnownDifference::*kMember>
bool add_condition(KnownDifference& entry, const std::string& value) {
  const auto condition = parse_condition(value);
  if (condition) (entry.*kMember).push_back(*condition);
  return condition.has_value();
}

bool set_calls(KnownDifference& entry, const std::string& value) {
  entry.calls = split(value, ",");
  return std::all_of(entry.calls.begin(), entry.calls.end(), is_call_name);
}

bool set_after(KnownDifference& entry, const std::string& value) {
  entry.after = split(value, ",");
  return std::all_of(entry.after.begin(), entry.after.end(), [](const std::string& name) {
    return name == kWriteback || name == kBadMemoryGiven || find_row(name) != nullptr;
  });
}

bool set_relation(KnownDifference& entry, const std::string& value) {
  entry.differs = value == "differs";
  if (entry.differs) return true;
  entry.relation = value == "mount-less" ? Relation::kMountLess : Relation::kMountGreater;
  return value == "mount-less" || value == "mount-greater";
}

bool set_then(KnownDifference& entry, const std::string& value) {
  entry.then = value == "continue" ? Then::kContinue : Then::kEndSequence;
  return value == "continue" || value == "end-sequence";
}

bool set_identity(KnownDifference& entry, const std::string& value) {
  entry.identity = value;
  return value == "root" || value == "user";
}

constexpr Key kKeys[] = {{"call", set_calls},
                         {"field", set_list<&KnownDifference::fields>},
                         {"native", set_alternatives<&KnownDifference::native>},
                         {"mount", set_alternatives<&KnownDifference::mount>},
                         {"relation", set_relation},
                         {"with", add_condition<&KnownDifference::with>},
                         {"where", add_condition<&KnownDifference::where>},
                         {"filesystem", set_list<&KnownDifference::filesystems>},
                         {"after", set_after},
                         {"cache", set_list<&KnownDifference::caches>},
                         {"identity", set_identity},
                         {"then", set_then},
                         {"reason", set_text<&KnownDifference::reason>},
                         {"kernel", set_text<&KnownDifference::kernel>}};

// Collects the lines of the file into entries.
class Parser {
 public:
  explicit Parser(std::vector<KnownDifference>& entries) : entries_(entries) {}

  // The complaint, or nothing.
  std::string take(const std::string& line) {
    if (line.rfind("## ", 0) == 0) return begin_entry(trim(line.substr(3)));
    if (line.rfind("- ", 0) == 0) {
      std::string complaint = flush();
      pending_ = line.substr(2);
      return complaint;
    }
    if (line.rfind("  ", 0) == 0 && !pending_.empty()) {
      pending_ += " " + trim(line);
      return {};
    }
    return trim(line).empty() ? std::string() : "neither a heading nor a '- key: value' line";
  }

  std::string finish() {
    std::string complaint = flush();
    if (!complaint.empty() || entries_.empty()) return complaint;
    const KnownDifference& entry = entries_.back();
    const std::string lacks = entry.id + " lacks ";
    if (entry.calls.empty() || entry.fields.empty()) return lacks + "a call or a field";
    if (entry.native.empty() && entry.mount.empty() && entry.relation == Relation::kNone &&
        !entry.differs) {
      return lacks + "all of native, mount and relation";
    }
    if (entry.reason.empty() || entry.kernel.empty()) return lacks + "a reason or a kernel";
    return {};
  }

 private:
  std::string begin_entry(std::string id) {
    std::string complaint = finish();
    if (!complaint.empty()) return complaint;
    for (const KnownDifference& entry : entries_) {
      if (entry.id == id) return "the id " + id + " is used twice";
    }
    entries_.push_back({});
    entries_.back().id = std::move(id);
    return {};
  }

  std::string flush() {
    const std::string line = std::exchange(pending_, {});
    if (line.empty()) return {};
    if (entries_.empty()) return "a key before the first heading";
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) return "no value in '" + line + "'";
    const std::string name = line.substr(0, colon);
    for (const Key& key : kKeys) {
      if (key.name != name) continue;
      if (key.set(entries_.back(), trim(line.substr(colon + 2)))) return {};
      return "bad value in '" + line + "'";
    }
    return "unknown key '" + name + "'";
  }

  std::vector<KnownDifference>& entries_;
  std::string pending_;
};

}  // namespace

bool KnownDifference::matches(const Sighting& sighting) const {
  const Difference& difference = *sighting.difference;
  const std::string fact = difference.field.substr(prefix_size(difference.field));
  if (!contains(calls, "any") && !contains(calls, sighting.call)) return false;
  if (!contains(fields, difference.field) && !contains(fields, fact)) return false;
  if (!allows(native, difference.native) || !allows(mount, difference.mount)) return false;
  if (relation != Relation::kNone && relation != difference.relation) return false;
  if (!allows(filesystems, sighting.filesystem)) return false;
  if (!allows(caches, sighting.cache)) return false;
  if (!identity.empty() && (identity == "root") != sighting.by_root) return false;
  const auto was_called = [&](const std::string& name) {
    if (name == kWriteback) return sighting.cache == kWriteback;
    return sighting.calls_so_far != nullptr && sighting.calls_so_far->count(name) != 0;
  };
  if (!after.empty() && std::none_of(after.begin(), after.end(), was_called)) return false;
  const bool arguments_fit = std::all_of(with.begin(), with.end(), [&](const Condition& condition) {
    return sighting.made != nullptr && argument_holds(condition, *sighting.made);
  });
  return arguments_fit && std::all_of(where.begin(), where.end(), [&](const Condition& condition) {
           return sighting.native != nullptr &&
                  fact_holds(condition, *sighting.native, difference.field);
         });
}

std::optional<KnownDifferences> KnownDifferences::parse(std::string_view text,
                                                        std::string& complaint) {
  constexpr std::string_view kMark = "<!-- entries -->";
  KnownDifferences known;
  Parser parser(known.entries_);
  bool inside = false;
  int line_number = 0;
  while (!text.empty() && complaint.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line == kMark) {
      inside = true;
      continue;
    }
    if (inside) complaint = parser.take(line);
  }
  if (complaint.empty()) complaint = parser.finish();
  if (complaint.empty()) return known;
  complaint = "line " + std::to_string(line_number) + ": " + complaint;
  return std::nullopt;
}

const KnownDifference* KnownDifferences::find(const Sighting& sighting) const {
  for (const KnownDifference& entry : entries_) {
    if (entry.matches(sighting)) return &entry;
  }
  return nullptr;
}

}  // namespace ouro::differential
