#include "tests/differential/shrink.hpp"

#include <algorithm>
#include <utility>

namespace ouro::differential {
namespace {

// One flag less, a zero, a path without its directory.
std::vector<Argument> plainer_arguments(const ParameterType& type, const Argument& argument) {
  std::vector<Argument> plainer;
  const std::size_t slash = argument.text.rfind('/');
  if (type.role == Role::kPath && slash != std::string::npos) {
    plainer.push_back({0, argument.text.substr(slash + 1)});
  }
  if (type.role != Role::kValue || argument.number == 0) return plainer;
  if (type.form == Form::kDecimal) plainer.push_back({0, {}});
  if (type.form != Form::kFlags) return plainer;
  for (const NamedValue& flag : type.names) {
    if (flag.value == 0 || (argument.number & flag.value) != flag.value) continue;
    plainer.push_back({argument.number & ~flag.value, {}});
  }
  return plainer;
}

// The call with one thing plainer: no probe, the first identity, a plainer argument.
std::vector<Call> plainer_variants(const Call& call) {
  std::vector<Call> variants;
  if (call.probe) variants.push_back({call.row, call.identity, false, call.arguments});
  if (call.identity != 0) variants.push_back({call.row, 0, call.probe, call.arguments});
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    for (Argument& plainer : plainer_arguments(*parameters[i].type, call.arguments[i])) {
      variants.push_back(call);
      variants.back().arguments[i] = std::move(plainer);
    }
  }
  return variants;
}

class Shrinker {
 public:
  Shrinker(Calls calls, const std::function<bool(const Calls&)>& fails, unsigned max_replays)
      : calls_(std::move(calls)), fails_(fails), left_(max_replays), max_replays_(max_replays) {}

  ShrinkResult run() {
    for (std::size_t piece = calls_.size() / 2; piece > 1; piece /= 2) remove_pieces(piece);
    while (remove_pieces(1) && left_ > 0) {
    }
    if (simplify()) remove_pieces(1);
    return {std::move(calls_), max_replays_ - left_};
  }

 private:
  // Takes the candidate over if it still fails.
  bool adopt(Calls candidate) {
    if (left_ == 0) return false;
    --left_;
    if (!fails_(candidate)) return false;
    calls_ = std::move(candidate);
    return true;
  }

  // From the back, where calls are less often needed by others. True when any piece went.
  bool remove_pieces(std::size_t piece) {
    bool removed = false;
    for (std::size_t end = calls_.size(); end > 0; end -= std::min(piece, end)) {
      Calls candidate = calls_;
      const std::size_t begin = end - std::min(piece, end);
      candidate.erase(candidate.begin() + static_cast<std::ptrdiff_t>(begin),
                      candidate.begin() + static_cast<std::ptrdiff_t>(end));
      if (!candidate.empty() && adopt(std::move(candidate))) removed = true;
    }
    return removed;
  }

  bool simplify() {
    bool changed = false;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      while (simplify_call(i)) changed = true;
    }
    return changed;
  }

  bool simplify_call(std::size_t index) {
    for (Call& variant : plainer_variants(calls_[index])) {
      Calls candidate = calls_;
      candidate[index] = std::move(variant);
      if (adopt(std::move(candidate))) return true;
    }
    return false;
  }

  Calls calls_;
  const std::function<bool(const Calls&)>& fails_;
  unsigned left_;
  unsigned max_replays_;
};

}  // namespace

ShrinkResult shrink(Calls calls, const std::function<bool(const Calls&)>& fails,
                    unsigned max_replays) {
  return Shrinker(std::move(calls), fails, max_replays).run();
}

}  // namespace ouro::differential
