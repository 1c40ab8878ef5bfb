#include "tests/differential/generator.hpp"

#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "tests/differential/call_table.hpp"

namespace ouro::differential {
namespace {

constexpr unsigned kProbePercent = 30;
constexpr unsigned kMainIdentityPercent = 70;
constexpr unsigned kPreludePercent = 92;

// A tree to start from; the generator drops a line now and then, and picks who makes it.
constexpr const char* kTreePrelude[] = {
    R"(mkdirat dir=cwd path="d0" mode=0777)",
    R"(mkdirat dir=cwd path="d0/s0" mode=0777)",
    R"(mkdirat dir=cwd path="d1" mode=02777)",
    R"(openat slot=0 dir=cwd path="f0" flags=O_CREAT|O_RDWR mode=0666)",
    R"(openat slot=1 dir=cwd path="d0/f0" flags=O_CREAT|O_RDWR mode=0666)",
    R"(open_direct slot=4 dir=cwd path="f1" flags=O_CREAT|O_DIRECT|O_RDWR mode=0666)",
    R"(symlink target="f0" path="l0")",
    R"(symlink target="d0" path="l1")",
    R"(link from="f0" to="d1/f1")",
    R"(setxattr path="f0" name="user.a" size=20 fill=C flags=0)",
    R"(setxattr path="d0" name="user.a" size=20 fill=C flags=0)"};

// What everybody opens, so that few calls meet an empty slot.
constexpr const char* kOwnPrelude[] = {
    R"(openat slot=0 dir=cwd path="f0" flags=O_RDWR mode=0)",
    R"(pwrite slot=0 length=10000 offset=0 fill=A memory=aligned)",
    R"(openat slot=1 dir=cwd path="d0/f0" flags=O_RDWR mode=0)",
    R"(pwrite slot=1 length=70000 offset=0 fill=B memory=aligned)",
    R"(openat slot=2 dir=cwd path="f0" flags=O_RDWR|O_APPEND mode=0)",
    R"(openat slot=3 dir=cwd path="f1" flags=O_RDWR mode=0)",
    R"(open_direct slot=4 dir=cwd path="f1" flags=O_DIRECT|O_RDWR mode=0)",
    R"(open_directory slot=5 dir=cwd path="d0" flags=O_DIRECTORY mode=0)",
    R"(open_directory slot=6 dir=cwd path="d1" flags=O_DIRECTORY mode=0)"};

const CallRow& draw_row(Random& random) {
  std::uint64_t total = 0;
  for (const CallRow& row : call_table()) total += row.weight;
  std::uint64_t roll = random.below(total);
  for (const CallRow& row : call_table()) {
    if (roll < row.weight) return row;
    roll -= row.weight;
  }
  std::abort();
}

Call prelude_call(const char* line, int identity) {
  const std::string names[] = {"any"};
  auto call = parse_call(std::string("any: ") + line, names);
  if (!call) {
    fmt::print(stderr, "prelude: this is no call: {}\n", line);
    std::abort();
  }
  call->identity = identity;
  return *std::move(call);
}

int draw_identity(Random& random, int main_identity, int identities) {
  if (random.percent(kMainIdentityPercent)) return main_identity;
  return static_cast<int>(random.below(static_cast<std::uint64_t>(identities)));
}

}  // namespace

Call generate_call(Random& random, const CallRow& row, int identity) {
  Call call{&row, identity, random.percent(kProbePercent), {}};
  for (const Parameter& parameter : row.parameters()) {
    call.arguments.push_back(parameter.type->generate(random));
  }
  if (row.adjust != nullptr) row.adjust(random, call);
  return call;
}

Sequence generate_sequence(const SequenceShape& shape, std::uint64_t number) {
  Random random(shape.seed, number);
  const bool paced = shape.paced_every != 0 && number % shape.paced_every == 0;
  Sequence sequence{shape.seed, number, paced ? Pace::kTick : Pace::kFull, {}};
  const int main_identity =
      static_cast<int>(random.below(static_cast<std::uint64_t>(shape.identities)));
  for (const char* line : kTreePrelude) {
    if (!random.percent(kPreludePercent)) continue;
    sequence.calls.push_back(
        prelude_call(line, draw_identity(random, main_identity, shape.identities)));
  }
  for (int identity = 0; identity < shape.identities; ++identity) {
    for (const char* line : kOwnPrelude) {
      if (random.percent(kPreludePercent)) sequence.calls.push_back(prelude_call(line, identity));
    }
  }
  while (sequence.calls.size() < shape.calls) {
    const CallRow& row = draw_row(random);
    const int identity = draw_identity(random, main_identity, shape.identities);
    sequence.calls.push_back(generate_call(random, row, identity));
  }
  sequence.calls.resize(shape.calls);
  return sequence;
}

}  // namespace ouro::differential
