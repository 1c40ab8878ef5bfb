// The domains of slots and paths. All paths are relative, so nothing outside of the directory of
// the sequence can be reached: the root lies four levels below it, for the sake of "..".
#include <string>

#include "tests/differential/parameters.hpp"
#include "tests/differential/side.hpp"

namespace ouro::differential {
namespace {

using Pool = std::span<const std::string>;

// Repeated names are the busy ones: several handles and links meet on them.
const std::string kFiles[] = {"f0",    "f0",    "f0",    "f0",    "f1",       "f1", "f2",
                              "d0/f0", "d0/f0", "d0/f3", "d1/f1", "d0/s0/f4", "f5"};
const std::string kDirectories[] = {"d0", "d0", "d0", "d1", "d1", "d0/s0", "d0/s0", "d1/s1", "."};
const std::string kLinks[] = {"l0", "l0", "l1", "d0/l2"};
const std::string kSpecials[] = {"p0", "p0", "d1/p1", "k0"};
const std::string kHostile[] = {
    "",           ".",    "..",      "f0/",       "d0/",       "d0/.",          "d0/..",
    "f0/x",       "l0/",  "l0/f0",   "l1/f1",     "missing",   "missing/x",     "@255",
    "d0/@255",    "@256", "d0/@256", "@path4095", "@path4096", "odd\xff\nname", "d0/\xc3\xa9",
    "d1/../d0/f0"};
const std::string kTargets[] = {
    "f0", "f0", "d0",   "d0/f0",     "f1",        "../f0",
    "l0", "l1", "d1",   "..",        "missing",   "s0/f4",
    "",   ".",  "@255", "@path1000", "@path4095", "/nonexistent/target"};

// What a pool is drawn from, in percent; the rest are hostile paths.
struct Mix {
  unsigned files;
  unsigned directories;
  unsigned links;
  unsigned specials;
};

Argument draw(Random& random, const Mix& mix) {
  const auto roll = static_cast<unsigned>(random.below(100));
  unsigned limit = mix.files;
  if (roll < limit) return {0, random.pick(Pool(kFiles))};
  if (roll < (limit += mix.directories)) return {0, random.pick(Pool(kDirectories))};
  if (roll < (limit += mix.links)) return {0, random.pick(Pool(kLinks))};
  if (roll < (limit += mix.specials)) return {0, random.pick(Pool(kSpecials))};
  return {0, random.pick(Pool(kHostile))};
}

Argument slot_or_any(Random& random, std::int64_t slot) {
  return {random.percent(94) ? slot : static_cast<std::int64_t>(random.below(kSlots)), {}};
}

std::int64_t below(Random& random, std::uint64_t bound) {
  return static_cast<std::int64_t>(random.below(bound));
}

constexpr NamedValue kBaseNames[] = {{"cwd", kCurrentDirectory}};

}  // namespace

const ParameterType kFileSlot{Form::kDecimal, Role::kSlot, {}, [](Random& random) {
                                const bool direct = random.percent(8);
                                return slot_or_any(
                                    random, direct ? kDirectIoSlot : below(random, kDirectIoSlot));
                              }};
const ParameterType kDirectSlot{Form::kDecimal, Role::kSlot, {}, [](Random&) {
                                  return Argument{kDirectIoSlot, {}};
                                }};
const ParameterType kDirectorySlot{Form::kDecimal, Role::kSlot, {}, [](Random& random) {
                                     return slot_or_any(random,
                                                        kFirstDirectorySlot + below(random, 2));
                                   }};
const ParameterType kPathSlot{Form::kDecimal, Role::kSlot, {}, [](Random& random) {
                                return slot_or_any(random, kPathOnlySlot);
                              }};
const ParameterType kBaseDirectory{Form::kChoice, Role::kValue, kBaseNames, [](Random& random) {
                                     if (random.percent(85)) return Argument{kCurrentDirectory, {}};
                                     return slot_or_any(random,
                                                        kFirstDirectorySlot + below(random, 2));
                                   }};

const ParameterType kFilePath{Form::kText, Role::kPath, {}, [](Random& random) {
                                return draw(random, {78, 5, 9, 3});
                              }};
const ParameterType kDirectoryPath{Form::kText, Role::kPath, {}, [](Random& random) {
                                     return draw(random, {5, 82, 6, 2});
                                   }};
const ParameterType kLinkPath{Form::kText, Role::kPath, {}, [](Random& random) {
                                return draw(random, {8, 5, 78, 3});
                              }};
const ParameterType kSpecialPath{Form::kText, Role::kPath, {}, [](Random& random) {
                                   return draw(random, {12, 5, 5, 72});
                                 }};
const ParameterType kAnyPath{Form::kText, Role::kPath, {}, [](Random& random) {
                               return draw(random, {52, 20, 12, 7});
                             }};
const ParameterType kLinkTarget{Form::kText, Role::kValue, {}, [](Random& random) {
                                  return Argument{0, random.pick(Pool(kTargets))};
                                }};

}  // namespace ouro::differential
